"""How does an event change the world? One function per kind of event."""

from __future__ import annotations

import asyncio
from typing import assert_never

from terway.lab.cloud.throttle import REAL_LIMITS
from terway.lab.cloud.transitions import Delays
from terway.lab.faults import events as of
from terway.lab.faults.cloud_events import operate, pick_of, upset_cloud
from terway.lab.faults.node import Node
from terway.lab.faults.runtime import Runtime
from terway.lab.faults.wishes import limit_of, wishes_of
from terway.lab.faults.world import World
from terway.model.ids import ENIId
from terway.model.network import NODE, LinkAddress, Remove, Route, RoutingRule


def happen(world: World, event: of.Event) -> None:  # noqa: PLR0912 - a branch per kind of event
    """Let `event` happen now."""
    world.record.add("event", repr(event))
    runtime = world.runtimes[event.node % len(world.runtimes)]
    match event:
        case of.AddPod() | of.DeletePod() | of.ForceDelete() | of.CheckPod() | of.CollectGarbage():
            _work(world, runtime, event)
        case of.Limit(pod=pod, megabits=megabits):
            runtime.limit(pod, limit_of(megabits))
        case of.Configure():
            runtime.node.configure(world.configured(runtime.node, event))
        case of.Partition(for_s=for_s):
            runtime.node.reach.cuts += 1
            world.later(for_s, lambda: _mend_reach(world, runtime.node))
        case (
            of.RefuseCalls()
            | of.LoseReplies()
            | of.SlowAnswers()
            | of.Throttle()
            | of.StuckTransitions()
            | of.StaleDescribes()
            | of.StaleMetadata()
            | of.LateAddresses()
        ):
            upset_cloud(world.cloud, event)
        case of.TakeAddress() | of.DetachENI():
            operate(world.timed, runtime.node.config.instance_id, event)
        case of.ApiOutage() | of.ApiErrors() | of.CutWatches() | of.StallWatches():
            _upset_api(world, event)
        case of.SlowDisk(delay_s=delay_s, for_s=for_s):
            before = runtime.node.habits.delay_s
            runtime.node.habits.delay_s = delay_s
            world.later(for_s, lambda: setattr(runtime.node.habits, "delay_s", before))
        case of.FailDisk(count=count):
            runtime.node.habits.failures += count
        case of.JumpClock(by_s=by_s):
            runtime.node.clock_ahead_s += by_s
        case of.Kill():
            runtime.node.life.plan(event)
        case of.Reboot():
            _reboot(runtime)
            world.replug()
        case of.UnplugLink(pick=pick, for_s=for_s):
            _unplug(world, runtime.node, pick, for_s)
        case of.Tamper():
            world.begin(_tamper(runtime.node, event))
        case of.Impair():
            pass  # there are no packets here
        case _:
            assert_never(event)


def calm(world: World) -> None:
    """End everything that goes wrong."""
    world.cloud.faults.clear()
    world.cloud.throttle.rates = dict(REAL_LIMITS)
    world.cloud.world.delays = Delays()
    world.cluster.is_away = world.cluster.is_stalled = False
    world.cluster.errors.clear()
    world.cluster.cut_watches()
    for node in world.nodes:
        node.habits.delay_s, node.habits.failures = type(node.habits)().delay_s, 0
        node.withheld.clear()
        node.reach.cuts = 0
        node.life.plan(None)
    world.replug()


def _work(
    world: World,
    runtime: Runtime,
    event: of.AddPod | of.DeletePod | of.ForceDelete | of.CheckPod | of.CollectGarbage,
) -> None:
    if isinstance(event, of.CollectGarbage):
        world.begin(runtime.collect())
        return
    sandbox = runtime.sandboxes.get(event.container)
    match event:
        case of.AddPod():
            if sandbox is None:
                wishes = wishes_of(
                    networks=event.networks, megabits=event.megabits, elsewhere=runtime.elsewhere
                )
                world.begin(runtime.bring_up(event.container, event.pod, wishes))
            elif sandbox.exists and sandbox.wanted:
                world.begin(runtime.add_again(event.container))
        case of.DeletePod() if sandbox is not None:
            world.begin(runtime.end(sandbox, times=event.times))
        case of.ForceDelete() if sandbox is not None:
            world.begin(runtime.force_end(sandbox, event.late_s))
        case of.CheckPod() if sandbox is not None and sandbox.result is not None:
            world.begin(_check(runtime, event.container))
        case _:
            pass  # it names nothing that is there


async def _check(runtime: Runtime, container: str) -> None:
    await runtime.check(runtime.sandboxes[container])


def _upset_api(
    world: World, event: of.ApiOutage | of.ApiErrors | of.CutWatches | of.StallWatches
) -> None:
    cluster = world.cluster
    match event:
        case of.ApiOutage(for_s=for_s):
            cluster.is_away = True
            cluster.cut_watches()
            world.later(for_s, lambda: setattr(cluster, "is_away", False))
        case of.ApiErrors(code=code, count=count):
            cluster.errors += [code] * count
        case of.CutWatches(expires=expires):
            cluster.cut_watches(expires=expires)
        case of.StallWatches(for_s=for_s):
            cluster.is_stalled = True
            world.later(for_s, lambda: _end_stall(world))
        case _:
            assert_never(event)


def _end_stall(world: World) -> None:
    world.cluster.is_stalled = False
    world.cluster.cut_watches()


def _mend_reach(world: World, node: Node) -> None:
    node.reach.cuts = max(0, node.reach.cuts - 1)
    world.cluster.wake()


def _reboot(runtime: Runtime) -> None:
    """Begin anew: sandboxes are gone, and the kubelet makes new ones for pods that are wanted."""
    runtime.node.reboot()
    runtime.lose_sandboxes()


def _unplug(world: World, node: Node, pick: int, for_s: float) -> None:
    eni_id = pick_of(list(node.plugged), pick)
    if eni_id is None:
        return
    node.withheld.add(eni_id)
    world.replug()
    world.later(for_s, lambda: _plug_again(world, node, eni_id))


def _plug_again(world: World, node: Node, eni_id: ENIId) -> None:
    node.withheld.discard(eni_id)
    world.replug()


async def _tamper(node: Node, event: of.Tamper) -> None:
    kinds = {"rule": RoutingRule, "route": Route, "address": LinkAddress}
    state = await node.kernel.read_node()
    found = [one for one in state.objects if isinstance(one, kinds[event.what])]
    chosen = pick_of(sorted(found, key=repr), event.pick)
    if chosen is not None:
        await node.kernel.apply([Remove(netns=NODE, object=chosen)])
        await asyncio.sleep(0)
