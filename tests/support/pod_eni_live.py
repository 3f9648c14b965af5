"""The controllers of pods' ENIs as they run, with queues and waits, on virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

from terway.controlplane.budget import CallBudget
from terway.controlplane.informers import SharedInformers
from terway.controlplane.manager import run_controllers
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.lookout import Lookout
from terway.controlplane.podenis.strays import Strays
from terway.controlplane.podenis.sweep import Sweep
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.vswitches import VSwitches
from terway.controlplane.podenis.world import ClusterWorld
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, POD_UID
from terway.kube.resource import NAMESPACES, NODES, PODS, Resource
from terway.lab.kubeapi.inprocess import InProcessKube
from terway.lab.kubeapi.store import Key
from terway.podeni.settings import Settings
from tests.support.centralized import Cluster, wall_clock
from tests.support.pod_eni_cluster import CLUSTER, PREFIX, Told, make_controllers
from tests.support.virtual_time import virtual_clock


class LivePodENIs(Cluster):
    """A cloud and an API server, in which pods ask for ENIs of their own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told = Told()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
        self.state.create(self.row(NAMESPACES), namespace)

    def add_shared_node(self, name: str, **allocatable: str) -> str:
        """Add a node that gives whole ENIs, and so says."""
        instance_id = self.add_node(name)
        self.allow(name, **allocatable)
        return instance_id

    def allow(self, name: str, **allocatable: str) -> None:
        """Have a node say how many ENIs pods can have."""
        resources = {f"aliyun/{one.replace('_', '-')}": n for one, n in allocatable.items()}
        body = {**self.find(NODES, name), "status": {"allocatable": resources}}
        self.state.store.put(self.row(NODES), body)

    def lose_node(self, name: str, instance_id: str) -> None:
        """Delete a node, and its instance, as an autoscaler does; its pods are gone with it."""
        for pod in self.objects(PODS):
            if pod["spec"]["nodeName"] == name:
                self.delete_pod(pod["metadata"]["name"])
        self.state.delete(self.row(NODES), name)
        self.release_instance(instance_id)

    def end_namespace(self) -> None:
        """Delete the pods' namespace, as the namespace controller does: all that is in it."""
        self.state.delete(self.row(NAMESPACES), "default")
        for found in self.objects(POD_ENIS):
            self.state.delete(self.row(POD_ENIS), found["metadata"]["name"], "default")

    def pod_enis(self) -> Mapping[str, str]:
        """Return the status of the ENIs that were made for pods."""
        self.cloud.follow()
        return {
            one.id: one.status.value
            for one in self.cloud.cloud.world.state.enis.values()
            if ("creator", "terway-controller") in one.tags
        }

    def addresses_of(self, name: str) -> Sequence[str]:
        """Return the addresses that a pod's PodENI has."""
        found = self.record(name) or {}
        return [one.get("ipv4", "") for one in found.get("spec", {}).get("allocations", ())]

    def make_pod(self, name: str, node: str, **allocation: str) -> None:
        """Make a pod of a StatefulSet, whose ENI is whole."""
        at = self.cloud.at
        network = {
            "interface": "eth0",
            "vSwitchOptions": [at.pod_vswitch],
            "securityGroupIDs": [at.group],
            "eniOptions": {"eniType": "ENI"},
            **({"allocationType": allocation} if allocation else {}),
        }
        self.make_asking(name, node, pod_networks=json.dumps({"podNetworks": [network]}))

    def make_asking(self, name: str, node: str, **asks: str) -> None:
        """Make a pod that asks for its network by annotation."""
        said = {"pod-eni": "true", **{one.replace("_", "-"): text for one, text in asks.items()}}
        self.pods += 1
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": f"uid-{self.pods}",
                "creationTimestamp": self.state.now_text(),
                "annotations": {f"{PREFIX}{one}": text for one, text in said.items()},
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "StatefulSet",
                        "name": "web",
                        "uid": "u",
                        "controller": True,
                    }
                ],
            },
            "spec": {"nodeName": node, "containers": [{"name": "a", "image": "i"}]},
            "status": {"phase": "Pending"},
        }
        self.state.store.put(self.row(PODS), body)

    def delete_pod(self, name: str) -> None:
        """Take a pod's object away."""
        self.state.store.remove(self.row(PODS), Key("default", name))

    def give_status(self, name: str, interface: str = "eth0") -> None:
        """Have the kubelet say that a pod runs with the address of one of its interfaces."""
        listed = (self.record(name) or {})["spec"]["allocations"]
        address = next(one["ipv4"] for one in listed if one["interface"] == interface)
        body = dict(self.state.find(self.row(PODS), name, "default") or {})
        body["status"] = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self.state.store.put(self.row(PODS), body)

    def hide_node(self, name: str) -> None:
        """Have a node not say of which instance it is."""
        self.edit(NODES, name, lambda body: body["spec"].pop("providerID"))

    def edit(
        self, resource: Resource[Any], name: str, change: Callable[[dict[str, Any]], None]
    ) -> None:
        """Change an object as a person does by hand, its status and finalizers included."""
        namespace = "default" if resource.namespaced else ""
        body = deepcopy(dict(self.state.find(self.row(resource), name, namespace) or {}))
        change(body)
        self.state.store.put(self.row(resource), body)

    def strip(self, resource: Resource[Any], name: str) -> None:
        """Take an object away past its finalizers, as a person does by two commands."""
        self.edit(resource, name, lambda body: body["metadata"].update(finalizers=[]))
        self.state.delete(self.row(resource), name, "default" if resource.namespaced else "")

    def record(self, name: str) -> Mapping[str, Any] | None:
        """Return the PodENI of a pod."""
        found: Mapping[str, Any] | None = self.state.find(self.row(POD_ENIS), name, "default")
        return found

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Return all PodENIs."""
        return list(self.objects(POD_ENIS))

    def is_served(self, name: str) -> bool:
        """Return whether a PodENI is bound for the very pod of its name."""
        pod = self.state.find(self.row(PODS), name, "default")
        found = self.record(name) or {}
        held = found.get("metadata", {}).get("annotations", {}).get(POD_UID)
        return pod is not None and held == pod["metadata"]["uid"] and self.phase(name) == "Bind"

    def phase(self, name: str) -> str:
        """Return the phase of a pod's PodENI; empty for none."""
        found = self.record(name) or {}
        return str(found.get("status", {}).get("phase", ""))

    def node(self, name: str) -> str:
        """Return where the ENIs of a pod are to be, as its PodENI says."""
        found = self.record(name) or {}
        return str(found.get("metadata", {}).get("labels", {}).get(f"{PREFIX}node", ""))

    def interfaces(self) -> Mapping[str, Any]:
        """Return the NetworkInterfaces by name."""
        return {one["metadata"]["name"]: one for one in self.objects(NETWORK_INTERFACES)}


@asynccontextmanager
async def pod_eni_control_plane(
    cluster: LivePodENIs, *, settings: Settings | None = None, kube: InProcessKube | None = None
) -> AsyncIterator[None]:
    """Run the controllers for the time of the block."""
    kube = kube or cluster.kube()
    chosen = replace(settings or Settings(), has_trunk=False)
    informers = SharedInformers(kube, rng=Random(1))  # type: ignore[arg-type]
    calls = Calls(cluster.client, CallBudget(clock=virtual_clock), clock=wall_clock)
    lookout = Lookout(calls)
    vswitches = VSwitches(calls, clock=virtual_clock, ttl_s=1200.0)
    teller = Teller(cluster.told)
    strays = Strays(kube, informers, calls, teller)
    sweep = Sweep(informers, calls, strays, cluster_id=CLUSTER, clock=wall_clock)
    controllers = make_controllers(
        kube,
        informers,
        calls,
        lookout=lookout,
        teller=teller,
        vswitches=vswitches,
        world=ClusterWorld(informers, lambda: None, vswitches.zones),
        settings=lambda: chosen,
        clock=wall_clock,
        monotonic=virtual_clock,
        began=wall_clock(),
    )
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(informers.run()),
            tasks.create_task(lookout.run()),
            tasks.create_task(sweep.run()),
            tasks.create_task(run_controllers(controllers, informers, rng=Random(1))),
        ]
        try:
            yield
        finally:
            for one in running:
                one.cancel()


@asynccontextmanager
async def one_shared_node() -> AsyncIterator[LivePodENIs]:
    """Run the controllers for a cluster with the node `n1`, which has room for three ENIs."""
    cluster = LivePodENIs()
    cluster.add_shared_node("n1", eni="3")
    async with pod_eni_control_plane(cluster):
        yield cluster
