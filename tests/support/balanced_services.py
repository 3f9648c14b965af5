"""Services of type LoadBalancer in a lab with a control plane, and who asks them from outside."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from terway.kube.resource import PODS
from terway.lab.cloud.inprocess import inprocess_nlb_client, inprocess_slb_client
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.outside import Outside, outside_host
from terway.lab.world.pods import ANSWER_S, PodHandle
from terway.lab.world.service_objects import SERVICES
from terway.model.address import IPAddress
from tests.support import mortal_server
from tests.support.cloud_balanced import eventually
from tests.support.instances import socket_in

FAR, OTHER, FAR_V6 = "203.0.113.7", "203.0.113.8", "2001:db8:ffff::7"
SERVED, PORT = 8080, 80
PREFIX = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
NLB_CLASS = "alibabacloud.com/nlb"
QUICK = {
    "health-check-interval": "1",
    "health-check-connect-timeout": "1",
    "healthy-threshold": "2",
    "unhealthy-threshold": "2",
}
SERVER = (
    "/usr/bin/env",
    "python3",
    "-I",
    "-S",
    "-c",
    Path(mortal_server.__file__).read_text(),
    str(SERVED),
)
RAW_PODS = PODS.typed(dict[str, Any])


@dataclass
class Market:
    """A lab, its host outside, and the cloud's load balancers as their owner sees them."""

    lab: Lab
    outside: Outside
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clb = inprocess_slb_client(self.lab.cloud)
        self.nlb = inprocess_nlb_client(self.lab.cloud)

    async def pod(self, name: str, node: str | None = None, **more: Any) -> PodHandle:
        return await self.lab.pod(name, node=node, command=SERVER, **more)

    async def service(
        self, name: str, annotations: Mapping[str, str] | None = None, **spec: Any
    ) -> None:
        """Create a Service of the pods with the label `app: <name>`."""
        said = {f"{PREFIX}{key}": value for key, value in {**QUICK, **(annotations or {})}.items()}
        ports = [{"name": "web", "port": PORT, "targetPort": SERVED}]
        body = {
            "metadata": {"name": name, "namespace": "default", "annotations": said},
            "spec": {
                "type": "LoadBalancer",
                "selector": {"app": name},
                "allocateLoadBalancerNodePorts": False,
                "ports": ports,
                **spec,
            },
        }
        await self.lab.kube.create(SERVICES, body)

    async def change(self, name: str, patch: Mapping[str, Any]) -> None:
        await self.lab.kube.patch(SERVICES, name, patch, namespace="default")

    async def read(self, name: str) -> dict[str, Any]:
        """Return a Service as it is."""
        found = await self.lab.kube.get(SERVICES, name, namespace="default")
        assert found is not None
        return found

    async def kill_control_plane(self) -> None:
        """Kill it as a crash would; it is started again."""
        assert self.lab.control_plane is not None
        await self.lab.control_plane.kill()

    async def remove(self, name: str) -> None:
        """Delete a Service, and wait until it is gone, with all that it had."""
        await self.lab.kube.delete(SERVICES, name, namespace="default")

        async def is_gone() -> bool:
            return await self.lab.kube.get(SERVICES, name, namespace="default") is None

        await eventually(is_gone)

    async def addresses(self, name: str) -> tuple[IPAddress, ...]:
        """Return where a Service is reached, once it says so."""
        found: list[IPAddress] = []

        async def has_address() -> bool:
            said = await self.read(name)
            ingress = (said.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
            found[:] = [ip_address(one["ip"]) for one in ingress if "ip" in one]
            return bool(found)

        # A control plane that was killed is followed when its lease is over.
        await eventually(has_address)
        return tuple(found)

    async def ask(
        self,
        address: IPAddress,
        *,
        source: str = FAR,
        port: int = PORT,
        timeout_s: float = ANSWER_S,
    ) -> tuple[str, str]:
        """Return which pod answers a new connection, and whom it sees."""
        flow = await self.outside.connect(address, port=port, source=source, timeout_s=timeout_s)
        async with flow:
            name, _, seen = (await flow.line(b"?", timeout_s=timeout_s)).decode().partition(" ")
        return name, seen.strip()

    async def is_answered(self, address: IPAddress, **more: Any) -> bool:
        try:
            await self.ask(address, **more, timeout_s=3.0)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        return True

    async def answered_by(
        self, address: IPAddress, names: Sequence[str], **more: Any
    ) -> tuple[str, str]:
        """Wait until one of `names` answers; return the answer."""
        found: list[tuple[str, str]] = []

        async def is_one() -> bool:
            if not await self.is_answered(address, **more):
                return False
            found.append(await self.ask(address, **more))
            return found[-1][0] in names

        await eventually(is_one)
        return found[-1]

    async def datagram(self, address: IPAddress, *, port: int = PORT, source: str = FAR) -> str:
        """Return what a datagram is answered with; nothing if it is not."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket_in(self.outside.netns_path, family, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.connect((str(address), port))  # hears nobody else
            await loop.sock_sendall(sock, b"?")
            try:
                async with asyncio.timeout(0.5):
                    return (await loop.sock_recv(sock, 100)).decode()
            except (TimeoutError, OSError):
                return ""

    async def weights(self) -> dict[str, int]:
        """Return the weight of each backend's address in all groups of CLB."""
        return {
            str(backend.address): backend.weight
            for instance in await self.clb.list_instances()
            for group in await self.clb.list_groups(instance.id)
            for backend in group.backends
        }

    async def load(self, address: IPAddress, until: asyncio.Event) -> Counter[str]:
        """Ask, one after the other, and count who answers; a lost answer is kept as a trouble."""
        answers: Counter[str] = Counter()
        while not until.is_set():
            try:
                name, seen = await self.ask(address)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.troubles.append(repr(error))
                continue
            if seen != FAR:
                self.troubles.append(f"{name} saw {seen}")
            answers[name] += 1
        return answers

    async def has_said(self, name: str, words: str) -> bool:
        """Whether an event of a Service has these words."""
        said = await self.lab.kube.request("GET", "/api/v1/namespaces/default/events")
        return any(
            one["involvedObject"]["name"] == name and words in one.get("message", "")
            for one in json.loads(said)["items"]
        )


@asynccontextmanager
async def open_market(**plan: Any) -> AsyncIterator[Market]:
    """Open a lab with a control plane, and clients outside of it."""
    async with open_lab(control_plane=True, **plan) as lab:
        outside = await outside_host(lab)
        for address in (FAR, OTHER, FAR_V6):
            await outside.add_address(address)
        yield Market(lab, outside)


async def once(lab: Lab, holds: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until something holds at the cloud, told by each change of it."""
    changed = asyncio.Event()
    stop = lab.cloud.subscribe(changed.set)
    try:
        async with asyncio.timeout(timeout_s):
            while not holds():
                changed.clear()
                await changed.wait()
    finally:
        stop()
