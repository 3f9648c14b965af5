"""How does a pod live on a node?

    accepted ─► sandbox (namespaces, CNI ADD) ─► init containers ─► containers ─► all ended?
        │            └ fails: event, wait, again      one by one      together        │
        └ refused: phase Failed                                                       ▼
    deleted: preStop, SIGTERM, SIGKILL ──────────────────────────► sandbox removed (CNI DEL)

One worker a pod, so that no two operations on one sandbox can overlap. A pod that has run to its
end gives its address back while its object stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from terway.kube.client import KubeClient
from terway.kube.events import WARNING, EventRecorder, pod_reference
from terway.lab.kubelet.container import ContainerRun, Surroundings
from terway.lab.kubelet.environment import Facts
from terway.lab.kubelet.files import PodFolder
from terway.lab.kubelet.objects import read_facts
from terway.lab.kubelet.podspec import Container, Pod, check_supported
from terway.lab.kubelet.report import StatusWriter
from terway.lab.kubelet.sandbox import Sandbox, SandboxMaker
from terway.lab.kubelet.state import ContainerView, Waiting
from terway.lab.kubelet.status import PodView
from terway.lab.node.client import SpawnerClient
from terway.model.errors import UsageError, VpcError

_RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # between tries to make or remove a sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """What all pods of a node use. `network_ready` waits until CNI can be called."""

    client: KubeClient
    spawner: SpawnerClient
    sandboxes: SandboxMaker
    http: aiohttp.ClientSession
    events: EventRecorder
    host_ips: tuple[str, ...]
    hostname: str
    network_ready: Callable[[], Awaitable[None]]


class PodWorker:
    """One pod's life. `run` returns when nothing of the pod is left on the node."""

    def __init__(self, pod: Pod, ports: NodePorts) -> None:
        self.pod = pod
        self.sandbox: Sandbox | None = None
        self._ports = ports
        self._folder = PodFolder(pod)
        self._hostname = _hostname(pod, ports.hostname)
        self._began = time.time()
        self._pod_ips: tuple[str, ...] = ()
        self._refused: tuple[str, str] | None = None
        self._gates = pod.gates
        self._init: list[ContainerRun] = []
        self._containers: list[ContainerRun] = []
        self._stop = asyncio.Event()
        self._grace_s = 0.0
        self._writer = StatusWriter(ports.client, pod, self._view)

    def stop(self, grace_s: float, *, gone_from_api: bool = False) -> None:
        """Have the pod end within `grace_s`."""
        self._writer.is_gone = self._writer.is_gone or gone_from_api
        self._grace_s = grace_s
        self._stop.set()

    def observe(self, pod: Pod) -> None:
        """Take in what others have written: conditions that readiness waits for."""
        if pod.gates != self._gates:
            self._gates = pod.gates
            self._writer.changed()

    def pids(self) -> dict[str, int]:
        """Return the process ids, on the node, of the containers that run."""
        runs = [(run.spec.name, run.pid) for run in (*self._init, *self._containers)]
        return {name: pid for name, pid in runs if pid is not None}

    async def run(self) -> None:
        """Live the pod's life, telling the API of each change."""
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._writer.run())
            life = tasks.create_task(self._live())
            await self._stop.wait()
            life.cancel()
            await asyncio.wait([life])
            await self._end()
            writer.cancel()
        await self._retry(self._writer.write, "FailedStatus")
        await self._retry(self._writer.confirm_deletion, "FailedDelete")

    async def _live(self) -> None:
        self._writer.changed()
        try:
            check_supported(self.pod)
        except UsageError as error:
            self._refused = ("UnsupportedPodSpec", str(error))
            self._record(WARNING, *self._refused)
            return
        around = self._surroundings(await self._prepare())
        self._init = [ContainerRun(one, around) for one in self.pod.spec.init_containers]
        self._containers = [ContainerRun(one, around) for one in self.pod.spec.containers]
        if await self._run_init():
            async with asyncio.TaskGroup() as tasks:
                for container in self._containers:
                    tasks.create_task(container.supervise(self.pod.spec.restart_policy))
        await self._retry(self._remove_sandbox, "FailedKillPod")

    async def _run_init(self) -> bool:
        """Run the init containers one by one; False when one has failed for good."""
        policy = "Never" if self.pod.spec.restart_policy == "Never" else "OnFailure"
        for container in self._init:
            if await container.supervise(policy) != 0:
                return False
        return True

    async def _prepare(self) -> Facts:
        """Make the sandbox and the files, again and again until both are there."""
        if not self.pod.spec.host_network:
            await self._ports.network_ready()
        await self._retry(self._make_sandbox, "FailedCreatePodSandBox")
        await self._retry(self._make_files, "FailedMount")
        return await self._read_facts()

    async def _make_sandbox(self) -> None:
        try:
            self.sandbox = await self._ports.sandboxes.make(self.pod, hostname=self._hostname)
        except VpcError as error:
            raise UsageError(f"Failed to create pod sandbox: {error}") from error
        self._pod_ips = self.sandbox.pod_ips
        self._writer.changed()

    async def _make_files(self) -> None:
        facts = await self._read_facts()
        self._folder.write_identity(self._hostname, self._pod_ips)
        self._folder.make(facts)

    async def _read_facts(self) -> Facts:
        return await read_facts(
            self._ports.client,
            self.pod,
            pod_ips=self._pod_ips,
            host_ips=self._ports.host_ips,
        )

    async def _end(self) -> None:
        """Stop the containers together, then give everything back."""
        async with asyncio.TaskGroup() as tasks:
            for container in (*self._init, *self._containers):
                tasks.create_task(container.stop(self._grace_s))
        await self._retry(self._remove_sandbox, "FailedKillPod")
        self._folder.remove()

    async def _remove_sandbox(self) -> None:
        if self.sandbox is None:
            return
        try:
            await self._ports.sandboxes.remove(self.sandbox)
        except VpcError as error:
            raise UsageError(f"error killing pod: failed to stop sandbox: {error}") from error
        self.sandbox = None
        self._writer.changed()

    async def _retry(self, step: Callable[[], Awaitable[None]], reason: str) -> None:
        for attempt in range(10**9):
            try:
                return await step()
            except VpcError as error:
                self._record(WARNING, reason, str(error))
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
        return None

    def _record(self, kind: str, reason: str, message: str) -> None:
        meta = self.pod.metadata
        target = pod_reference(meta.namespace, meta.name, meta.uid)
        self._ports.events.record(target, kind, reason, message)

    def _surroundings(self, facts: Facts) -> Surroundings:
        assert self.sandbox is not None, "made before any container"
        return Surroundings(
            pod=self.pod,
            sandbox=self.sandbox,
            facts=facts,
            folder=self._folder,
            hostname=self._hostname,
            spawner=self._ports.spawner,
            http=self._ports.http,
            record=self._record,
            changed=self._writer.changed,
        )

    def _view(self) -> PodView:
        spec = self.pod.spec
        return PodView(
            host_ips=self._ports.host_ips,
            pod_ips=self._pod_ips,
            has_sandbox=self.sandbox is not None,
            started_at=self._began,
            init=_views(self._init, spec.init_containers),
            containers=_views(self._containers, spec.containers),
            gates=self._gates,
            refused=self._refused,
        )


def _views(runs: list[ContainerRun], specs: tuple[Container, ...]) -> tuple[ContainerView, ...]:
    if runs:
        return tuple(run.view for run in runs)
    return tuple(ContainerView(name=one.name, image=one.image, state=Waiting()) for one in specs)


def _hostname(pod: Pod, of_node: str) -> str:
    if pod.spec.host_network:
        return of_node
    # A host name has at most 63 characters, a pod's name 253; the kubelet cuts it so too.
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")
