"""Pods behind the cloud's load balancers, in a running lab: groups, listeners, and who answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from terway.lab.cloud.inprocess import inprocess_nlb_client, inprocess_slb_client
from terway.lab.world.lab import Lab
from terway.lab.world.outside import Outside
from terway.lab.world.pods import ANSWER_S, PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from terway.model.balancer import (
    Backend,
    Forwarding,
    HealthCheck,
    InstanceWish,
    ListenerProtocol,
    ListenerWish,
    LoadBalancerId,
    ServerGroupId,
)
from terway.model.ids import ClientToken, ENIId, ZoneId
from tests.support import balanced_node

FAR = "203.0.113.7"
SERVED, HEALTH, PORT = 8080, 8081, 80
QUICK = HealthCheck(interval_s=1, timeout_s=1, healthy_after=2, unhealthy_after=2)
SERVER = Path(balanced_node.__file__).read_text()
_TOKENS = count()


def token() -> ClientToken:
    return ClientToken(f"test-{next(_TOKENS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """A listener of an instance, its group, and where clients find it."""

    id: LoadBalancerId
    group: ServerGroupId
    address: IPAddress
    addresses: tuple[IPAddress, ...] = ()
    listener: str = ""


class Shop:
    """One lab, its host outside, and the clients of both products."""

    def __init__(self, lab: Lab, outside: Outside) -> None:
        self.lab, self.outside = lab, outside
        self.clb = inprocess_slb_client(lab.cloud)
        self.nlb = inprocess_nlb_client(lab.cloud)

    async def pod(self, name: str, node: str, *, with_health: bool = True) -> PodHandle:
        ports = (str(SERVED), *((str(HEALTH),) if with_health else ()))
        words = ("/usr/bin/env", "python3", "-I", "-S", "-c", SERVER, *ports)
        return await self.lab.pod(name, node=node, command=words)

    def backend(self, pod: PodHandle, *, family: Family = Family.V4, weight: int = 100) -> Backend:
        address = pod.address(family)
        eni = self.lab.cloud.world.state.plugged_owner(address)
        assert eni is not None
        return Backend(address=address, port=SERVED, eni_id=ENIId(eni.id), weight=weight)

    def wish(self, name: str, *, is_internet: bool = False) -> InstanceWish:
        zone = (ZoneId(self.lab.plan.zone_id), self.lab.ground.node_vswitch_id)
        return InstanceWish(
            name=name,
            is_internet=is_internet,
            vpc_id=self.lab.ground.vpc_id,
            zones=(zone,),
            is_protected_from_deletion=False,
        )

    async def balance(
        self,
        name: str,
        backends: Sequence[Backend],
        *,
        protocol: ListenerProtocol = ListenerProtocol.TCP,
        forwarding: Forwarding | None = None,
        is_internet: bool = False,
        **more: object,
    ) -> Balanced:
        """Make a CLB instance with one listener."""
        made = await self.clb.create_instance(
            self.wish(name, is_internet=is_internet), token=token()
        )
        group = await self.clb.create_group(made, name=name)
        await self.clb.add_backends(group, backends)
        wish = ListenerWish(
            protocol=protocol,
            port=PORT,
            group_id=group,
            forwarding=forwarding or Forwarding(check=QUICK),
        )
        await self.clb.create_listener(made, replace(wish, **more))  # type: ignore[arg-type]
        await self.clb.start_listener(made, protocol, PORT)
        found = await self.clb.describe_instance(made)
        assert found is not None
        return Balanced(id=made, group=group, address=found.addresses[0])

    async def balance_nlb(
        self,
        name: str,
        backends: Sequence[Backend],
        *,
        protocol: ListenerProtocol = ListenerProtocol.TCP,
        forwarding: Forwarding,
        ip_version: str = "ipv4",
    ) -> Balanced:
        """Make an NLB instance of the internet with one listener."""
        wish = replace(self.wish(name, is_internet=True), ip_version=ip_version)
        made = await self.nlb.create_instance(wish, token=token())
        group, _ = await self.nlb.create_group(
            name=name,
            vpc_id=self.lab.ground.vpc_id,
            protocol=protocol.value,
            of_addresses=False,
            is_dual_stack=ip_version == "DualStack",
            forwarding=forwarding,
            token=token(),
        )
        await self.nlb.add_backends(group, backends)
        listener, _ = await self.nlb.create_listener(
            made, ListenerWish(protocol=protocol, port=PORT, group_id=group), token=token()
        )
        found = await self.nlb.describe_instance(made)
        assert found is not None
        return Balanced(
            id=made,
            group=group,
            address=found.addresses[0],
            addresses=found.addresses,
            listener=listener,
        )

    async def ask(
        self, address: IPAddress, *, source: str = FAR, timeout_s: float = ANSWER_S
    ) -> tuple[str, str]:
        """Return which pod answers a new connection, and whom it sees."""
        flow = await self.outside.connect(address, port=PORT, source=source, timeout_s=timeout_s)
        async with flow:
            name, _, seen = (await flow.line(b"?", timeout_s=timeout_s)).decode().partition(" ")
        return name, seen.strip()

    async def is_answered(self, address: IPAddress, *, source: str = FAR) -> bool:
        try:
            await self.ask(address, source=source, timeout_s=2.0)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        return True


async def eventually(
    question: Callable[[], Awaitable[bool]], *, timeout_s: float = PATIENCE_S
) -> None:
    """Wait until a question that is asked again and again is answered with yes."""
    async with asyncio.timeout(timeout_s):
        # Health is found out by packets, which no event tells the cloud's callers of.
        while not await question():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
