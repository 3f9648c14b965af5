"""What can be done with a running lab? Nodes, instances, pods, manifests."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.resource import PODS, ObjectKey
from terway.kube.types import Pod
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.provision import Instance, delete_instance
from terway.lab.node.network import eth0_commands
from terway.lab.vpc.fabric import Fabric
from terway.lab.world.accounts import AGENT_ACCOUNT, NAMESPACE, has_account, issue_kubeconfig
from terway.lab.world.cluster import wait_nodes_ready, wait_pod_gone, wait_pod_ready
from terway.lab.world.cluster_objects import (
    Undo,
    take_out_eni_config,
    take_out_nodes,
    write_eni_config,
)
from terway.lab.world.controlplane import ControlPlane
from terway.lab.world.ground import Ground, eth0_of, make_instance, node_spec
from terway.lab.world.namespaces import check_is_free
from terway.lab.world.node import NodeHandle, run_command, start_node
from terway.lab.world.paths import LabPaths
from terway.lab.world.plan import LabPlan
from terway.lab.world.pods import SERVE, PodHandle, pair_of, pod_manifest
from terway.lab.world.services import Services
from terway.lab.world.tasks import BackgroundTasks
from terway.lab.world.waiting import PATIENCE_S
from terway.linux.netns import open_netns
from terway.model.errors import UsageError, VpcError

Progress = Callable[[str], None]
_TAKE_OUT_S = 10.0
_INSTANCE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, a label


class Lab:
    """A running lab. Made by `open_lab`."""

    def __init__(
        self,
        *,
        plan: LabPlan,
        paths: LabPaths,
        cloud: Cloud,
        fabric: Fabric,
        tasks: BackgroundTasks,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.paths = paths
        self.cloud = cloud
        self.fabric = fabric
        self.tasks = tasks
        self.progress = progress
        self.nodes: dict[str, NodeHandle] = {}
        self.instances: dict[str, Instance] = {}  # by name; attached namespaces included
        self.control_plane: ControlPlane | None = None
        self._configured = False  # eni-config is written
        self._undo: Undo | None = None
        self._held: dict[str, int] = {}  # open namespaces of attached instances, by name
        self.ground: Ground
        self.services: Services
        self.kube: KubeClient

    def node(self, name: str) -> NodeHandle:
        """Return a node. UsageError when there is none of that name."""
        if name not in self.nodes:
            known = ", ".join(self.nodes) or "none"
            raise UsageError(f"no node is named {name!r}; there are: {known}", field="node")
        return self.nodes[name]

    async def add_node(self, name: str) -> NodeHandle:
        """Run an instance, start the node in it, and return before it is Ready."""
        if self.plan.cloud_only:
            raise UsageError(f"lab {self.plan.name!r} was started with --cloud-only, without nodes")
        self._check_new(name)
        if not self._configured:
            await self.configure_agents()
        instance = make_instance(self.cloud, self.plan, self.ground, name)
        self.instances[name] = instance
        try:
            return await self._start(name, instance)
        except Exception:  # nothing of a node that did not come about may stay
            await self.remove_node(name)
            raise

    async def issue_kubeconfig(self, service_account: str, namespace: str = NAMESPACE) -> str:
        """Return a kubeconfig (text) for programs inside the lab that are this service account."""
        return await issue_kubeconfig(
            self.kube,
            self.services.node_kubeconfig,
            service_account=service_account,
            namespace=namespace,
        )

    async def program_kubeconfig(self, service_account: str) -> str:
        """Return the kubeconfig (text) of a program of ours: its account's, where there is one.

        The accounts come with the manifests of an installation. Without one the lab's programs
        are its administrator.
        """
        if await has_account(self.kube, service_account):
            return await self.issue_kubeconfig(service_account)
        return self.services.node_kubeconfig

    async def _start(self, name: str, instance: Instance) -> NodeHandle:
        folder = self.paths.node(name)
        spec = node_spec(
            self.cloud,
            self.plan,
            self.ground,
            instance,
            name=name,
            kubeconfig=self.services.node_kubeconfig,
            agent_kubeconfig=await self.program_kubeconfig(AGENT_ACCOUNT),
            log_dir=str(folder),
        )
        node, control = await start_node(spec, folder)
        self.nodes[name] = node
        self.tasks.start(node.follow(control, self._node_ended), name=f"node {name}")
        await node.wait_init()
        await self._plug(instance, node.netns_path)
        await node.request("go")
        # The first address alone: with IPv6 the line would not fit into 80 columns.
        self.progress(f"{name}: {instance.id} at {spec.addresses[0]}")
        return node

    async def remove_node(self, name: str) -> None:
        """End a node, whole or half made, and delete its instance; the cloud releases its ENIs."""
        if name in self._held:
            raise UsageError(f"{name} is an attached instance, no node: detach-instance ends it")
        if name not in self.instances:
            self.node(name)  # says which there are
        if (node := self.nodes.pop(name, None)) is not None:
            await node.stop()
        await take_out_nodes(self.kube, [name])
        await self._release(name, self.instances[name])
        shutil.rmtree(self.paths.node(name), ignore_errors=True)

    async def attach_instance(self, name: str, netns_path: str) -> Instance:
        """Make an existing network namespace an ECS instance, with eth0 configured in it.

        The namespace is held open until it is detached.
        """
        self._check_new(name)
        fd = self._open_free(netns_path)
        try:
            instance = make_instance(self.cloud, self.plan, self.ground, name)
        except VpcError:
            os.close(fd)
            raise
        self._held[name] = fd
        self.instances[name] = instance
        try:
            path = f"/proc/{os.getpid()}/fd/{fd}"
            await self._plug(instance, path)
            await self._configure(instance, path)
        except VpcError:
            await self._release(name, instance)
            raise
        return instance

    async def detach_instance(self, name: str) -> None:
        """Delete the instance that a namespace was made; the namespace itself stays."""
        if name in self.nodes or name not in self.instances:
            raise UsageError(f"no attached instance is named {name!r}", field="name")
        await self._release(name, self.instances[name])

    def netns_of(self, name: str) -> str:
        """Return the path of an attached instance's network namespace."""
        if name not in self._held:
            raise UsageError(f"no attached instance is named {name!r}", field="name")
        return f"/proc/{os.getpid()}/fd/{self._held[name]}"

    async def wait_ready(self, *names: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the named nodes, or all, are Ready: pods can get addresses there."""
        await self._wait_nodes(names, timeout_s, registered=False)

    async def wait_begun(self, *names: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the named nodes, or all, are as far as they come by themselves.

        That is Ready, but without terwayd only registered: somebody brings another CNI plugin.
        """
        await self._wait_nodes(names, timeout_s, registered=not self.plan.agent)

    async def apply(self, manifests: str) -> None:
        """Create or change objects from YAML, as ``kubectl apply`` does."""
        if self.services.cluster is not None:
            from terway.lab.kubeapi.manifests import apply_reviewed

            await apply_reviewed(self.services.cluster, manifests)
            return
        path = self.paths.folder / "apply.yaml"
        path.write_text(manifests)
        config = f"--kubeconfig={self.services.kubeconfig_path}"
        await run_command(["kubectl", config, "apply", "-f", str(path)])

    async def pod(
        self,
        name: str,
        *,
        node: str | None = None,
        namespace: str = "default",
        command: Sequence[str] = SERVE,
        timeout_s: float = PATIENCE_S,
        **more: Any,
    ) -> PodHandle:
        """Create a pod, wait until it is Ready and return a handle on it.

        Without `command` it serves the lab's tools. `more` as `pod_manifest` has it.
        """
        manifest = pod_manifest(name, namespace=namespace, node=node, command=command, **more)
        await self.kube.create(PODS, manifest, namespace=namespace)
        return await self.wait_pod(name, namespace=namespace, timeout_s=timeout_s)

    async def wait_pod(
        self, name: str, *, namespace: str = "default", timeout_s: float = PATIENCE_S
    ) -> PodHandle:
        """Wait until a pod is Ready and return a handle on it."""
        key = ObjectKey(namespace=namespace, name=name)
        return await self.handle(await wait_pod_ready(self.kube, key, timeout_s=timeout_s))

    async def handle(self, pod: Pod) -> PodHandle:
        """Return a handle on a running pod."""
        node = self.node(pod.spec.node_name)
        meta = pod.metadata
        found = await node.request("pod", namespace=meta.namespace, name=meta.name, uid=meta.uid)
        pids: dict[str, int] = found["pids"]
        path = found["netns"]
        return PodHandle(
            meta=meta,
            node=node,
            addresses=pair_of([ip_address(one.ip) for one in pod.status.pod_ips]),
            netns_path=str(node.inside(path)) if path else node.netns_path,
            pid=next(iter(pids.values()), 0),
        )

    async def delete_pod(
        self, name: str, *, namespace: str = "default", timeout_s: float = PATIENCE_S
    ) -> None:
        """Delete a pod and wait until nothing of it is left."""
        await self.kube.delete(PODS, name, namespace=namespace)
        key = ObjectKey(namespace=namespace, name=name)
        await wait_pod_gone(self.kube, key, timeout_s=timeout_s)

    async def configure_agents(self) -> None:
        """Write the ConfigMap eni-config from the plan."""
        undo = await write_eni_config(self.kube, self.plan, self.ground)
        if not self._configured:
            self._undo, self._configured = undo, True

    async def stop(self) -> None:
        """End all nodes, at the same time, and let go of attached namespaces."""
        for name in tuple(self._held):
            await self.detach_instance(name)
        nodes = dict(self.nodes)
        self.nodes.clear()
        async with asyncio.TaskGroup() as tasks:
            for node in nodes.values():
                tasks.create_task(node.stop())
        if self.services.cluster is None:
            await self._take_out(nodes)

    async def _wait_nodes(
        self, names: Sequence[str], timeout_s: float, *, registered: bool
    ) -> None:
        nodes = [self.node(name) for name in names or self.nodes]
        await wait_nodes_ready(
            self.kube, nodes, timeout_s=timeout_s, progress=self.progress, registered=registered
        )

    async def _take_out(self, nodes: Iterable[str]) -> None:
        """Leave somebody else's API server as it was found."""
        try:
            async with asyncio.timeout(_TAKE_OUT_S):
                await take_out_nodes(self.kube, nodes)
                if self._configured:
                    await take_out_eni_config(self.kube, self._undo)
        except (VpcError, TimeoutError) as error:
            self.progress(f"Nodes and eni-config stay in {self.plan.kubeconfig}: {error}")

    def _node_ended(self, node: NodeHandle) -> None:
        if self.nodes.get(node.name) is node:
            self.progress(f"node {node.name} has ended: {node.last_words()}")

    def _check_new(self, name: str) -> None:
        # It becomes a host name, the name of a Node, and that of a folder.
        if not _INSTANCE_NAME.fullmatch(name):
            raise UsageError(
                f"instance name {name!r}: use up to 63 lower case letters, digits and dashes",
                field="name",
            )
        if name in self.instances:
            raise UsageError(f"an instance is named {name!r} already", field="name")

    def _open_free(self, netns_path: str) -> int:
        """Open a network namespace that may become an instance, and return the descriptor."""
        taken = {
            self.fabric.vpc_netns_path: "the lab's own",
            self.fabric.services_netns_path: "the lab's own",
            **{node.netns_path: f"that of node {node.name}" for node in self.nodes.values()},
            **{f"/proc/self/fd/{fd}": f"attached as {one}" for one, fd in self._held.items()},
        }
        with open_netns(netns_path) as opened:
            check_is_free(opened.fd, taken)
            return os.dup(opened.fd)

    async def _plug(self, instance: Instance, netns_path: str) -> None:
        """Return when eth0 is there: the fabric may not have heard of the instance yet."""
        await self.fabric.bind(instance.id, netns_path)
        await self.fabric.apply(self.cloud.vpc_state())

    async def _release(self, name: str, instance: Instance) -> None:
        delete_instance(self.cloud, instance.id)
        await self.fabric.unbind(instance.id)
        self.instances.pop(name, None)
        if (fd := self._held.pop(name, None)) is not None:
            os.close(fd)

    async def _configure(self, instance: Instance, netns_path: str) -> None:
        addresses, gateways = eth0_of(self.cloud, instance)
        lines = eth0_commands(addresses, gateways, mtu_bytes=self.cloud.habits.mtu_bytes)
        words = ["nsenter", f"--net={netns_path}", "ip", "-batch", "-"]
        await run_command(words, stdin="\n".join(lines) + "\n")
