"""Who keeps the fabric's load balancers as the cluster wants them? A task of the lab's process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.lab.balancer.forwarding import Member, Probe, balancers_of, members_of, probes_of
from terway.lab.balancer.health import Health
from terway.lab.balancer.probing import ask_all
from terway.lab.kubeapi.controllers.actions import apply
from terway.lab.kubeapi.controllers.loadbalancers import (
    announce,
    concerns_balancers,
    is_concerned,
    withdraw,
)
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import NODE, SERVICE
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.store import Change
from terway.lab.vpc.balancers import Balancing
from terway.lab.vpc.fabric import Fabric
from terway.lab.vpc.state import Prober
from terway.model.errors import VpcError
from terway.model.ids import VpcId


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerPlace:
    """Where the load balancers are, and how often they ask nodes for their health."""

    vpc_id: VpcId
    prober: IPv4Address  # whose questions they are
    prober_v6: IPv6Address | None = None
    netns_path: str  # of the provider's services
    interval_s: float


async def run_balancers(
    cluster: ClusterState,
    fabric: Fabric,
    place: BalancerPlace,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Keep the load balancers as the cluster's Services say, until cancelled.

    `progress` hears what the fabric does not take; it is tried again every `interval_s`.
    """
    changed = asyncio.Event()

    def hear(change: Change) -> None:
        if change.resource is NODE or concerns_balancers(change):
            changed.set()

    stop = cluster.store.on_change(hear)
    balancers = _Balancers(cluster, fabric, place, progress)
    try:
        while True:
            changed.clear()
            await balancers.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(balancers.idle_s()):
                    await changed.wait()
    finally:
        stop()


class _Balancers:
    """What is known of the nodes' health, and what the fabric was told last."""

    def __init__(
        self,
        cluster: ClusterState,
        fabric: Fabric,
        place: BalancerPlace,
        progress: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._fabric = fabric
        self._place = place
        self._progress = progress
        self._health = Health()
        self._told = Balancing()
        self._is_told = True
        self._next_round = 0.0

    def idle_s(self) -> float | None:
        """Return how long there is nothing to do; None for as long as nothing changes."""
        if self._is_told and not self._health.failures:
            return None
        return max(self._next_round - asyncio.get_running_loop().time(), 0.01)

    async def look(self) -> None:
        """Have the fabric forward to those who are healthy, and ask whom there is to ask.

        The fabric first: whoever does not answer must keep no new address waiting.
        """
        held = self._cluster.store.items
        services = [one.object for one in held(SERVICE) if is_concerned(one.object)]
        members = members_of(one.object for one in held(NODE))
        await self._tell(self._wish(services, members))
        self._report(services)
        await self._ask(probes_of(services, members))
        await self._tell(self._wish(services, members))

    def _report(self, services: list[Object]) -> None:
        """Let Services say what the fabric does by now, and give back what it no longer does."""
        if not self._is_told:
            return
        for service in services:
            for action in (*announce(service), *withdraw(service)):
                apply(self._cluster, action)

    async def _ask(self, wanted: frozenset[Probe]) -> None:
        now = asyncio.get_running_loop().time()
        asked = self._health.unknown(wanted)
        if now >= self._next_round:
            asked, self._next_round = wanted, now + self._place.interval_s
        answers = await ask_all(asked, netns_path=self._place.netns_path, source=self._place.prober)
        self._health = self._health.step(answers, wanted)

    def _wish(self, services: list[Object], members: tuple[Member, ...]) -> Balancing:
        if not services:
            return Balancing()
        place = self._place
        found = balancers_of(services, members, self._health.healthy, vpc_id=place.vpc_id)
        return Balancing(balancers=found, prober=Prober(vpc_id=place.vpc_id, address=place.prober))

    async def _tell(self, wish: Balancing) -> None:
        if self._is_told and wish == self._told:
            return
        self._told, self._is_told = wish, False
        try:
            await self._fabric.balance(wish)
        except VpcError as error:  # an instance's namespace may just have ended
            self._progress(f"load balancers: {error}")
            return
        self._is_told = True
