"""What comes out when the nodes join at once? Waits, calls, and what it took of this machine."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from terway.lab.faults.virtual import run_virtually
from terway.lab.scale.agents import Agents
from terway.lab.scale.control import control_plane
from terway.lab.scale.plan import ScalePlan
from terway.lab.scale.world import ScaleWorld, monotonic

_SHOW_EVERY_S = 60.0  # virtual
_FIRST_MINUTE_S = 60.0
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One simulation. Times are virtual seconds, but for `wall_s` and `cpu_s`.

    `took_s` is until the last pod had its address. `waits_s` are of pods, `node_waits_s` of nodes:
    from joining until nobody waits there; both sorted, of those who have waited to the end.
    """

    plan: ScalePlan
    took_s: float
    unserved: int  # pods without an address when patience was over
    waits_s: tuple[float, ...]
    node_waits_s: tuple[float, ...]
    calls: Mapping[str, int]
    throttled: int  # answers
    throttled_late: int  # of them after the first minute
    wall_s: float
    cpu_s: float
    peak_mb: float  # of the whole process: cloud, API server and agents are in it

    @property
    def over_least(self) -> float:
        """Return how much longer it took than the call limits ask for."""
        return self.took_s / self.plan.least_s


def simulate(plan: ScalePlan, *, show: Progress = lambda text: None) -> tuple[Outcome, ScaleWorld]:
    """Run a simulation to its end, in virtual time; return the world as it was left, too."""
    return run_virtually(_run(plan, show))


async def _run(plan: ScalePlan, show: Progress) -> tuple[Outcome, ScaleWorld]:
    """Have all nodes join at once, and wait until every pod has an address."""
    began = time.perf_counter(), time.process_time()
    world = ScaleWorld(plan)
    agents = Agents(world, world.kube())
    async with asyncio.TaskGroup() as tasks, control_plane(world):
        acting = tasks.create_task(agents.run())
        await asyncio.sleep(1.0)  # so that the watches are open
        start = monotonic()
        for number in range(plan.nodes):
            agents.join(f"node-{number:05d}", plan.pods_per_node)
        world.limit()
        showing = tasks.create_task(_show(agents, world, start, show))
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.patience_s):
                await agents.all_served.wait()
        outcome = _outcome(world, agents, start, began)
        acting.cancel()
        showing.cancel()
    return outcome, world


async def _show(agents: Agents, world: ScaleWorld, start: float, show: Progress) -> None:
    while True:
        await asyncio.sleep(_SHOW_EVERY_S)
        calls = world.cloud.calls.count("CreateNetworkInterface")
        show(f"{monotonic() - start:.0f} s: {agents.waiting} pods wait, {calls} ENIs")


def _outcome(
    world: ScaleWorld, agents: Agents, start: float, began: tuple[float, float]
) -> Outcome:
    everyone = agents.agents.values()
    late_from = world.cloud.now() - (monotonic() - start) + _FIRST_MINUTE_S
    throttled = [call for call in world.cloud.calls.all if call.code.startswith("Throttling")]
    return Outcome(
        plan=world.plan,
        took_s=max(one.served_at for one in everyone) - start,
        unserved=agents.waiting,
        waits_s=tuple(sorted(wait for one in everyone for wait in one.waits_s)),
        node_waits_s=tuple(sorted(o.served_at - o.joined_at for o in everyone if o.is_served)),
        calls=world.cloud.calls.counts(),
        throttled=sum(world.cloud.throttle.refused.values()),
        throttled_late=sum(1 for call in throttled if call.at > late_from),
        wall_s=time.perf_counter() - began[0],
        cpu_s=time.process_time() - began[1],
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    )
