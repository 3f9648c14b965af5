"""Who keeps the fabric as the cloud's load balancers are? A task of the lab's process.

Cloud ── listeners ─► carrying ─► Fabric.balance      each change, each backend that leaves
  │                     └─► http_run, http_proxy       servers of HTTP and HTTPS
  ▲ who is healthy                                    (DescribeHealthStatus says it)
  └── checks ◄── checking ── packets from the prober  one task for each backend of a listener
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from terway.lab.balancer.carrying import Carried, carried
from terway.lab.balancer.checking import Asker, ask
from terway.lab.balancer.checks import Seen
from terway.lab.balancer.http_run import HttpProxies
from terway.lab.balancer.run import BalancerPlace
from terway.lab.cloud.balancer_records import HealthCheckRecord, HealthKey, HealthSeen
from terway.lab.cloud.balancer_view import (
    ForwardingListener,
    forwarding_listeners,
    standing_addresses,
)
from terway.lab.cloud.cloud import Cloud
from terway.lab.vpc.balancers import Balancing
from terway.lab.vpc.fabric import Fabric
from terway.lab.vpc.state import Prober
from terway.model.errors import VpcError

MAKER = "cloud"
_RETRY_S = 0.5  # after a refusal of the fabric: it may not know a new vSwitch yet


async def run_cloud_balancers(
    cloud: Cloud,
    fabric: Fabric,
    place: BalancerPlace,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Keep the fabric and the cloud's knowledge of health up to date, until cancelled.

    `progress` hears what the fabric does not take; it is tried again.
    """
    balancers = _Balancers(cloud, fabric, place, progress)
    stop = cloud.subscribe(balancers.changed.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            while True:
                balancers.changed.clear()
                wait_s = await balancers.look(tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await balancers.changed.wait()
    finally:
        stop()
        await balancers.http.close()


class _Balancers:
    """What is known of backends' health, and what the fabric was told last."""

    def __init__(
        self,
        cloud: Cloud,
        fabric: Fabric,
        place: BalancerPlace,
        progress: Callable[[str], None],
    ) -> None:
        self.changed = asyncio.Event()
        self._cloud = cloud
        self._fabric = fabric
        self._prober = Prober(vpc_id=place.vpc_id, address=place.prober, address_v6=place.prober_v6)
        self._asker = Asker(netns_path=place.netns_path, sources=self._prober.addresses)
        self.http = HttpProxies(self._asker)
        self._progress = progress
        self._carried = Carried()
        self._told: Balancing | None = None
        self._seen: dict[HealthKey, Seen] = {}
        self._tasks: dict[tuple[HealthKey, HealthCheckRecord], asyncio.Task[None]] = {}

    async def look(self, tasks: asyncio.TaskGroup) -> float | None:
        """Do what has changed; return after how many seconds to look again, None for never."""
        now, state = self._cloud.now(), self._cloud.world.state
        listeners = forwarding_listeners(state, now=now)
        self._check(listeners, tasks)
        health = self._health()
        self._carried = carried(
            self._carried, standing_addresses(state, now=now), listeners, health, now=now
        )
        is_told = await self._tell() and await self.http.follow(listeners, health)
        state.balancing.health = health  # last: who is told so relies on where packets go
        due = min(
            (at for at in (self._carried.next_due(), self._next_ready(now)) if at is not None),
            default=None,
        )
        if not is_told:
            return _RETRY_S
        return None if due is None else max(due - now, 0.01)

    def _next_ready(self, now: float) -> float | None:
        """Return when the next NLB instance begins to work."""
        nlbs = self._cloud.world.state.balancing.nlbs.values()
        return min((one.ready_at for one in nlbs if one.ready_at > now), default=None)

    async def _tell(self) -> bool:
        wish = Balancing(balancers=self._carried.balancers, prober=self._prober)
        if wish == self._told:
            return True
        try:
            await self._fabric.balance(wish, maker=MAKER)
        except VpcError as error:
            self._progress(f"the cloud's load balancers: {error}")
            return False
        self._told = wish
        return True

    def _check(self, listeners: tuple[ForwardingListener, ...], tasks: asyncio.TaskGroup) -> None:
        """Have one task ask each backend of each listener that checks, and no other."""
        wanted = {
            ((one.id, server.address, server.port), one.check)
            for one in listeners
            if one.check.is_on
            for server in one.servers
        }
        for gone in self._tasks.keys() - wanted:
            self._tasks.pop(gone).cancel()
        for key, check in wanted - self._tasks.keys():
            self._tasks[key, check] = tasks.create_task(self._ask(key, check))
        known = {key for key, _ in wanted}
        self._seen = {key: seen for key, seen in self._seen.items() if key in known}

    async def _ask(self, key: HealthKey, check: HealthCheckRecord) -> None:
        _, address, port = key
        while True:
            said_yes = await ask(self._asker, check, address, check.port or port)
            before = self._seen.get(key, Seen())
            after = before.after(said_yes, check)
            self._seen[key] = after
            if after.is_healthy != before.is_healthy:
                self.changed.set()
            await asyncio.sleep(check.interval_s)

    def _health(self) -> HealthSeen:
        """Return who is healthy, as the cloud's answers are to say."""
        healthy = frozenset(key for key, seen in self._seen.items() if seen.is_healthy)
        asked = {key for key, seen in self._seen.items() if seen.is_healthy is not None}
        return HealthSeen(healthy=healthy, unhealthy=frozenset(asked) - healthy)
