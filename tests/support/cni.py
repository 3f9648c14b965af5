"""A terwayd of the test's own process, the real plugin in front of it, and fakes behind it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from terway.agent.answer import Answerer
from terway.agent.interfaces import InterfacePolicy
from terway.agent.links import AttachedLinks
from terway.agent.metrics import Metrics
from terway.agent.moments import read_moment
from terway.agent.pool_ports import PoolStatus
from terway.agent.server import open_server
from terway.agent.spool import Spool
from terway.agent.verb_ports import Network
from terway.agent.verbs import Verbs
from terway.model.address import IPAddress, IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.errors import CapacityError, VpcError
from terway.model.ids import ENIId, MacAddress
from terway.model.interface import InterfaceSpec
from terway.model.moment import Moment

PLUGIN = Path(__file__).resolve().parents[2] / "src" / "terway" / "cni" / "bin" / "terway"
ENI_MAC = MacAddress("00:16:3e:00:00:01")


def in_a_minute() -> Moment:
    """Return the moment that a clock shows which is a minute ahead."""
    now = read_moment()
    return replace(now, seconds=now.seconds + 60)


class FakePool:
    """A pool with `size` addresses of each family that answers at once and remembers."""

    def __init__(self, *, size: int = 8, clock=read_moment) -> None:
        self._free = list(range(10, 10 + size))
        self._held: dict[AttachmentKey, tuple[int, Attachment]] = {}
        self.missing: tuple[IPAddress, ...] = ()
        self._clock = clock

    async def acquire(
        self, key, *, network, netns, pod: PodRef | None, spec: InterfaceSpec
    ) -> Attachment:
        await asyncio.sleep(0)
        if key in self._held:
            return self._held[key][1]
        if not self._free:
            raise CapacityError("all addresses of the node are in use")
        number = self._free.pop(0)
        lease = Lease(
            eni_id=ENIId("eni-1"),
            eni_mac=ENI_MAC,
            addresses=IPPair(
                v4=IPv4Address(f"192.168.32.{number}"), v6=IPv6Address(f"2408:4005::{number:x}")
            ),
        )
        attachment = Attachment(
            key=key,
            network=network,
            netns=netns,
            pod=pod,
            lease=lease,
            made_at=self._clock(),
            spec=spec,
        )
        self._held[key] = (number, attachment)
        return attachment

    async def hold(self, attachment: Attachment) -> None:
        await asyncio.sleep(0)
        self._held[attachment.key] = (0, attachment)

    async def release(self, key: AttachmentKey) -> None:
        await asyncio.sleep(0)
        if key in self._held:
            number, held = self._held.pop(key)
            self._free += [number] if held.spec.own_eni is None else []

    def attachment(self, key: AttachmentKey) -> Attachment | None:
        held = self._held.get(key)
        return held[1] if held else None

    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(attachment for _, attachment in self._held.values())

    def status(self) -> PoolStatus:
        return PoolStatus(
            can_add=bool(self._free),
            reason="" if self._free else "all addresses of the node are in use",
            capacity=len(self._free) + len(self._held),
            free=len(self._free),
            bound=len(self._held),
            cooling=0,
            retiring=0,
            coming=0,
            waiting=0,
            missing=self.missing,
            enis={},
        )


@dataclass
class FakeNetwork:
    """A kernel that remembers what is attached, and fails or waits when a test says so."""

    attached: dict[AttachmentKey, Attachment] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    attach_error: VpcError | None = None
    detach_error: VpcError | None = None
    broken: dict[AttachmentKey, list[tuple[str, ...]]] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def attach(self, attachment: Attachment, *, mtu_bytes: int | None) -> AttachedLinks:
        self.calls.append(("attach", str(attachment.key)))
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.attach_error is not None:
            raise self.attach_error
        self.attached[attachment.key] = attachment
        return AttachedLinks(
            host_name=f"cali{len(self.attached):011x}",
            host_mac=MacAddress("ee:00:00:00:00:01"),
            pod_mac=MacAddress("ee:00:00:00:00:02"),
            mtu_bytes=mtu_bytes or 1500,
        )

    async def prove(self, attachment: Attachment) -> bool:
        self.calls.append(("prove", str(attachment.key)))
        return False

    async def detach(self, attachment: Attachment) -> None:
        self.calls.append(("detach", str(attachment.key)))
        if self.detach_error is not None:
            raise self.detach_error
        self.attached.pop(attachment.key, None)

    async def differences(
        self, attachment: Attachment, *, pod_mac: MacAddress | None
    ) -> tuple[str, ...]:
        # Each look takes one entry; the last one stays.
        looks = self.broken.get(attachment.key, [()])
        return looks.pop(0) if len(looks) > 1 else looks[0]


@dataclass(frozen=True)
class Ran:
    """What one run of the plugin left."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.stdout)
        return value


@dataclass
class Node:
    """The folders of a node, what stands behind terwayd, and a way to run the plugin."""

    folder: Path
    pool: FakePool = field(default_factory=FakePool)
    network: Network = field(default_factory=FakeNetwork)
    pods: Any = None
    reporter: Any = None
    spool_folder: Path | None = None
    gate: Any = None  # who has ADDs wait for policies
    claims: Any = None  # whose pods have PodENIs

    @property
    def socket(self) -> Path:
        return self.folder / "cni.socket"

    @property
    def spool(self) -> Path:
        return self.spool_folder or self.folder / "spool"

    def notes(self) -> list[Path]:
        return sorted(self.spool.glob("[!.]*"))

    @asynccontextmanager
    async def terwayd(self, *, clock=read_moment) -> AsyncIterator[Answerer]:
        """Serve, as terwayd does after its start, for the block."""
        self.spool.mkdir(exist_ok=True)
        verbs = Verbs(
            pool=self.pool,
            network=self.network,
            pods=self.pods,
            clock=clock,
            policy=InterfacePolicy(),
        )
        verbs.gate = self.gate
        verbs.claims = self.claims
        answerer = Answerer(
            verbs,
            spool=Spool(self.spool),
            metrics=Metrics(self.pool),
            reporter=self.reporter,
            clock=clock,
            now=time.monotonic,
        )
        async with open_server(self.socket, answerer.answer):
            await answerer.work_off()
            yield answerer

    async def run(
        self, verb: str, conf: Mapping[str, Any] | bytes | None = None, **env: str | None
    ) -> Ran:
        """Execute the plugin as a runtime does. An env of None leaves the variable out."""
        stdin = conf if isinstance(conf, bytes) else json.dumps(conf or conf_of()).encode()
        variables = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/run/netns/absent",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            **env,
        }
        process = await asyncio.create_subprocess_exec(
            PLUGIN,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "TERWAY_CNI_SOCKET": str(self.socket),
                "TERWAY_CNI_SPOOL": str(self.spool),
                "PATH": os.environ["PATH"],
                **{name: value for name, value in variables.items() if value is not None},
            },
        )
        stdout, stderr = await process.communicate(stdin)
        assert process.returncode is not None
        return Ran(process.returncode, stdout, stderr)


def conf_of(version: str = "1.1.0", **more: Any) -> dict[str, Any]:
    """A network configuration as a runtime hands it to a plugin."""
    return {"cniVersion": version, "name": "terway", "type": "terway", **more}


def valid(*container_ids: str, ifname: str = "eth0") -> dict[str, Any]:
    """The key by which GC is told what is still there."""
    attachments = [{"containerID": one, "ifname": ifname} for one in container_ids]
    return {"cni.dev/valid-attachments": attachments}
