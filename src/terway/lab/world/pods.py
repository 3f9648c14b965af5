"""What can a test or a demo do with a running pod? Enter it, talk from it, measure from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from terway.kube.types import ObjectMeta
from terway.lab import toolbox
from terway.lab.world.node import NodeHandle, run_command
from terway.lab.world.sockets import connect_in
from terway.model.address import Family, IPAddress, IPPair, family_of

ANSWER_S = 30.0  # for what is answered at once on an idle machine
SERVE = ("/usr/bin/env", "python3", "-I", "-S", toolbox.TOOL, "serve")


def pod_manifest(
    name: str,
    *,
    namespace: str,
    node: str | None,
    command: Sequence[str] = SERVE,
    host_network: bool = False,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    ports: Sequence[Mapping[str, Any]] = (),
    pre_stop: Sequence[str] = (),
    limits: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a pod with one container, bound to `node` where one is named.

    `limits` are of resources, and asked for as well.
    `pre_stop` is run before the container is told to end, and waited for: the pod drains.
    """
    serving = tuple(command) == SERVE and not host_network
    probe = {"tcpSocket": {"port": toolbox.ECHO_PORT}, "periodSeconds": 1}
    container = {
        "name": "main",
        "image": "terway-lab/toolbox",
        "command": list(command),
        "ports": list(ports),
        **({"resources": {"limits": dict(limits), "requests": dict(limits)}} if limits else {}),
        **({"readinessProbe": probe} if serving else {}),
        **({"lifecycle": {"preStop": {"exec": {"command": list(pre_stop)}}}} if pre_stop else {}),
    }
    spec: dict[str, Any] = {
        "containers": [container],
        "terminationGracePeriodSeconds": 30 if pre_stop else 2,
        "hostNetwork": host_network,
        "tolerations": [{"operator": "Exists"}],
    }
    if node is not None:
        spec["nodeName"] = node
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"app": name, **(labels or {})},
        "annotations": dict(annotations or {}),
    }
    return {"metadata": metadata, "spec": spec}


class Flow:
    """A TCP connection from a pod to an echo server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def echo(self, data: bytes, *, timeout_s: float = ANSWER_S) -> bytes:
        """Send `data` and return what comes back, as much as was sent."""
        self._writer.write(data)
        async with asyncio.timeout(timeout_s):
            return await self._reader.readexactly(len(data))

    async def line(self, data: bytes, *, timeout_s: float = ANSWER_S) -> bytes:
        """Send `data` and return the line that comes back."""
        self._writer.write(data)
        async with asyncio.timeout(timeout_s):
            return await self._reader.readuntil()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodHandle:
    """A running pod. `netns_path` is a path of this process's own file system."""

    meta: ObjectMeta
    node: NodeHandle
    addresses: IPPair
    netns_path: str
    pid: int  # of its first container, as the node counts

    @property
    def name(self) -> str:
        """Return the pod's name."""
        return self.meta.name

    @property
    def namespace(self) -> str:
        """Return the pod's namespace."""
        return self.meta.namespace

    def address(self, family: Family) -> IPAddress:
        """Return the address of one family, which must be there."""
        found = self.addresses.of(family)
        assert found is not None, f"pod {self.name} has no IPv{family.value} address"
        return found

    async def exec(self, *command: str, check: bool = True) -> str:
        """Run a command in the container and return its output; UsageError when it fails."""
        return await run_command(self.node.words(command, container_pid=self.pid), check=check)

    async def tool(self, *arguments: str) -> dict[str, Any]:
        """Run the lab's own tool in the container and return its answer."""
        words = (*SERVE[:-2], toolbox.TOOL, *arguments)
        answer: dict[str, Any] = json.loads(await self.exec(*words))
        return answer

    async def connect(
        self,
        target: PodHandle | IPAddress,
        *,
        family: Family = Family.V4,
        port: int = toolbox.ECHO_PORT,
        timeout_s: float = ANSWER_S,
    ) -> Flow:
        """Connect from this pod's namespace; `family` chooses among a pod's addresses."""
        address = target.address(family) if isinstance(target, PodHandle) else target
        async with asyncio.timeout(timeout_s):
            return Flow(*await connect_in(self.netns_path, str(address), port))

    async def can_reach(
        self,
        target: PodHandle | IPAddress,
        *,
        family: Family = Family.V4,
        timeout_s: float = ANSWER_S,
    ) -> bool:
        """Whether a byte goes there and comes back."""
        try:
            async with await self.connect(target, family=family, timeout_s=timeout_s) as flow:
                return await flow.echo(b"?", timeout_s=timeout_s) == b"?"
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False


def pair_of(addresses: Sequence[IPAddress]) -> IPPair:
    """Return the first address of each family."""
    found: dict[Family, Any] = {}
    for address in addresses:
        found.setdefault(family_of(address), address)
    return IPPair(v4=found.get(Family.V4), v6=found.get(Family.V6))
