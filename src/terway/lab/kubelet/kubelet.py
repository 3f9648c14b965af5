"""What does the node's kubelet do? Registers the node, keeps its lease, runs the pods bound to it.

API ─watch pods of this node─► one worker a pod          (pod.py)
    ◄─Node, its status, Lease─ heartbeat                 (node_status.py)
    ─watch eni-config────────► /etc/eni                  (projection.py)
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, PatchType, Selector
from terway.kube.events import NORMAL, EventRecorder, node_reference
from terway.kube.informer import Change, Informer
from terway.kube.lease import renew_lease
from terway.kube.resource import NODES
from terway.lab.kubelet.network import CniNetwork
from terway.lab.kubelet.node_status import node_object, node_status, status_patch
from terway.lab.kubelet.pod import NodePorts, PodWorker
from terway.lab.kubelet.podspec import POD_RESOURCE, Pod
from terway.lab.kubelet.readiness import NetworkReadiness
from terway.lab.kubelet.sandbox import SandboxMaker
from terway.lab.node.client import SpawnerClient
from terway.lab.node.spec import NodeSpec
from terway.model.errors import ConflictError, VpcError

LEASE_NAMESPACE = "kube-node-lease"
_LEASE_S = 40
_HEARTBEAT_S = 10.0
_FORCED_GRACE_S = 2.0  # for a pod whose object was deleted at once, as the kubelet has it
_COLLECT_EVERY_S = 600.0

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubelet:
    """The kubelet of one node; made by `open_kubelet`, run by `run`."""

    spec: NodeSpec
    client: KubeClient
    ports: NodePorts
    network: CniNetwork
    readiness: NetworkReadiness
    workers: dict[str, PodWorker]  # by pod uid
    log: Log
    status_changed: asyncio.Event

    async def run(self) -> None:
        """Run until cancelled."""
        await self._register()
        pods = Informer(
            self.client,
            POD_RESOURCE,
            backoff=_backoff(),
            selector=Selector(fields=f"spec.nodeName={self.spec.name}"),
            on_error=lambda error: self.log(f"watching pods: {error}"),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.ports.events.run())
            tasks.create_task(self.readiness.watch(self.status_changed.set))
            tasks.create_task(self._heartbeat())
            tasks.create_task(self._write_status())
            tasks.create_task(self._collect())
            tasks.create_task(pods.run())
            with pods.subscribe() as changes:
                async for change in changes:
                    self._take(change, tasks)

    def _take(self, change: Change[Pod], tasks: asyncio.TaskGroup) -> None:
        """Bring the workers in line with one pod's object."""
        old, new = change.old, change.new
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            gone = self.workers.get(old.metadata.uid)
            if gone is not None:
                gone.stop(_FORCED_GRACE_S, gone_from_api=True)
        if new is None:
            return
        worker = self.workers.get(new.metadata.uid)
        if worker is None:
            if new.status.phase in {"Succeeded", "Failed"} and not new.metadata.deletion_timestamp:
                return  # ran to its end under a predecessor of this kubelet
            worker = self.workers[new.metadata.uid] = PodWorker(new, self.ports)
            tasks.create_task(self._run(worker))
        worker.observe(new)
        if new.metadata.deletion_timestamp is not None:
            worker.stop(float(new.metadata.deletion_grace_period_seconds or 0))

    async def _run(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            del self.workers[worker.pod.metadata.uid]

    async def _register(self) -> None:
        backoff = _backoff()
        while True:
            try:
                return await self._register_once()
            except VpcError as error:
                self.log(f"registering the node: {error}")
            await asyncio.sleep(backoff.next_s())

    async def _register_once(self) -> None:
        wanted = node_object(self.spec)
        try:
            node = await self.client.create(NODES, wanted)
        except ConflictError:
            node = await self.client.patch(NODES, self.spec.name, wanted)
        await self._patch_status(since=time.time())
        target = node_reference(self.spec.name, node.metadata.uid)
        self.ports.events.record(target, NORMAL, "Starting", "Starting kubelet.")

    async def _heartbeat(self) -> None:
        while True:
            try:
                await renew_lease(
                    self.client,
                    self.spec.name,
                    namespace=LEASE_NAMESPACE,
                    holder=self.spec.name,
                    duration_s=_LEASE_S,
                    now=time.time(),
                )
            except VpcError as error:
                self.log(f"renewing the lease: {error}")
            await asyncio.sleep(_HEARTBEAT_S)

    async def _write_status(self) -> None:
        """Write the node's status when readiness changes, and once in a while."""
        since, was = time.time(), self.readiness.trouble
        while True:
            if self.readiness.trouble != was:
                was, since = self.readiness.trouble, time.time()
            try:
                await self._patch_status(since=since)
                pause_s = 300.0  # the kubelet's nodeStatusReportFrequency
            except VpcError as error:
                self.log(f"writing the node's status: {error}")
                pause_s = 1.0
            try:
                async with asyncio.timeout(pause_s):
                    await self.status_changed.wait()
            except TimeoutError:
                continue
            self.status_changed.clear()

    async def _patch_status(self, *, since: float) -> None:
        status = node_status(
            self.spec, trouble=self.readiness.trouble, since=since, now=time.time()
        )
        await self.client.patch(
            NODES,
            self.spec.name,
            status_patch(status),
            kind=PatchType.STRATEGIC,
            subresource="status",
        )

    async def _collect(self) -> None:
        """Have stale attachments collected: at the start, then once in a while."""
        while True:
            await self.readiness.wait()
            try:
                await self.network.collect(self.ports.sandboxes.attachments)
            except VpcError as error:
                self.log(f"CNI GC: {error}")
            await asyncio.sleep(_COLLECT_EVERY_S)


async def open_kubelet(
    stack: AsyncExitStack,
    spec: NodeSpec,
    client: KubeClient,
    spawner: SpawnerClient,
    *,
    log: Log,
) -> Kubelet:
    """Make the kubelet of this node; what it opens is closed with `stack`."""
    http = await stack.enter_async_context(aiohttp.ClientSession())
    host_ips = tuple(address.partition("/")[0] for address in spec.addresses)
    network = CniNetwork()
    readiness = NetworkReadiness(network)
    events = EventRecorder(
        client,
        component="kubelet",
        host=spec.name,
        clock=time.time,
        on_error=lambda error: log(f"event: {error}"),
    )
    ports = NodePorts(
        client=client,
        spawner=spawner,
        sandboxes=SandboxMaker(spawner, network, host_ips=host_ips),
        http=http,
        events=events,
        host_ips=host_ips,
        hostname=socket.gethostname(),
        network_ready=readiness.wait,
    )
    return Kubelet(
        spec=spec,
        client=client,
        ports=ports,
        network=network,
        readiness=readiness,
        workers={},
        log=log,
        status_changed=asyncio.Event(),
    )


def _backoff() -> Backoff:
    return Backoff(random.Random(os.getpid()), initial_s=0.1, maximum_s=5.0)
