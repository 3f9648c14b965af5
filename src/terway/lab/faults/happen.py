"""How does an event change the world? One function per kind of event."""

from __future__ import annotations

import asyncio
from typing import TypeVar, assert_never

from terway.lab.cloud.cloud import Call
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.provision import ECS
from terway.lab.cloud.throttle import DEFAULT_RATES
from terway.lab.cloud.transitions import Delays
from terway.lab.faults import schedule as of
from terway.lab.faults.node import Node
from terway.lab.faults.runtime import Runtime
from terway.lab.faults.world import World, with_delays
from terway.model.ids import ENIId
from terway.model.network import NODE, LinkAddress, Remove, Route, RoutingRule

T = TypeVar("T")


def happen(world: World, event: of.Event) -> None:  # noqa: PLR0912 - a branch per kind of event
    """Let `event` happen now."""
    world.record.add("event", repr(event))
    runtime = world.runtimes[event.node % len(world.runtimes)]
    match event:
        case of.AddPod() | of.DeletePod() | of.ForceDelete() | of.CheckPod() | of.CollectGarbage():
            _work(world, runtime, event)
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
            _upset_cloud(world, event)
        case of.TakeAddress():
            _take_address(world, runtime.node, event.pick)
        case of.DetachENI():
            _detach(world, runtime.node, event)
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
    world.cloud.throttle.rates = dict(DEFAULT_RATES)
    world.cloud.world.delays = Delays()
    world.cluster.is_away = world.cluster.is_stalled = False
    world.cluster.errors.clear()
    world.cluster.cut_watches()
    for node in world.nodes:
        node.habits.delay_s, node.habits.failures = type(node.habits)().delay_s, 0
        node.withheld.clear()
        node.life.plan(None)
    world.replug()


def _pick(among: list[T], pick: int) -> T | None:
    return among[pick % len(among)] if among else None


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
                world.begin(runtime.bring_up(event.container, event.pod))
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


def _upset_cloud(
    world: World,
    event: of.RefuseCalls
    | of.LoseReplies
    | of.SlowAnswers
    | of.Throttle
    | of.StuckTransitions
    | of.StaleDescribes
    | of.StaleMetadata
    | of.LateAddresses,
) -> None:
    match event:
        case of.RefuseCalls():
            world.cloud.faults.add(
                Fault(
                    action=event.action,
                    code=event.code,
                    status=event.status,
                    count=event.count,
                    skip=event.skip,
                    burns_token=event.burns_token,
                )
            )
        case of.LoseReplies(action=action, count=count, skip=skip):
            fault = Fault(action=action, count=count, skip=skip, loses_reply=True)
            world.cloud.faults.add(fault)
        case of.SlowAnswers(action=action, delay_s=delay_s, count=count):
            world.cloud.faults.add(Fault(action=action, count=count, delay_s=delay_s))
        case of.Throttle(per_minute=rate, for_s=for_s):
            world.cloud.throttle.rates = dict.fromkeys(DEFAULT_RATES, rate)
            world.later(for_s, lambda: world.cloud.throttle.rates.update(DEFAULT_RATES))
        case of.StuckTransitions(what=what, delay_s=delay_s, for_s=for_s):
            _delay(world, f"{what}_s", delay_s, for_s)
        case of.StaleDescribes(lag_s=lag_s, for_s=for_s):
            _delay(world, "describe_s", lag_s, for_s)
        case of.StaleMetadata(lag_s=lag_s, for_s=for_s):
            _delay(world, "metadata_s", lag_s, for_s)
        case of.LateAddresses(delay_s=delay_s, for_s=for_s):
            _delay(world, "assign_s", delay_s, for_s)
        case _:
            assert_never(event)


def _delay(world: World, name: str, delay_s: float, for_s: float) -> None:
    with_delays(world.cloud, **{name: delay_s})
    usual: float = getattr(Delays(), name)
    world.later(for_s, lambda: with_delays(world.cloud, **{name: usual}))


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


def _take_address(world: World, node: Node, pick: int) -> None:
    found = [(eni, ip) for eni in world.enis_of(node) for ip in sorted(eni.ipv4[1:])]
    chosen = _pick(found, pick)
    if chosen is not None:
        eni, address = chosen
        _call(
            world,
            "UnassignPrivateIpAddresses",
            **{"NetworkInterfaceId": eni.id, "PrivateIpAddress.1": str(address)},
        )


def _detach(world: World, node: Node, event: of.DetachENI) -> None:
    eni = _pick(world.enis_of(node), event.pick)
    if eni is None:
        return
    _call(
        world,
        "DetachNetworkInterface",
        NetworkInterfaceId=eni.id,
        InstanceId=node.config.instance_id,
    )
    if event.deletes:
        world.later(1.5, lambda: _call(world, "DeleteNetworkInterface", NetworkInterfaceId=eni.id))


def _call(world: World, action: str, **parameters: str) -> None:
    region = {"RegionId": world.cloud.world.place.region_id}
    reply = world.timed.perform(
        Call(version=ECS, action=action, parameters={**region, **parameters})
    )
    world.record.add("operator", f"{action} {parameters}: {reply.code or 'done'}")


def _reboot(runtime: Runtime) -> None:
    """Begin anew: sandboxes are gone, and the kubelet makes new ones for pods that are wanted."""
    runtime.node.reboot()
    runtime.lose_sandboxes()


def _unplug(world: World, node: Node, pick: int, for_s: float) -> None:
    eni_id = _pick(list(node.plugged), pick)
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
    chosen = _pick(sorted(found, key=repr), event.pick)
    if chosen is not None:
        await node.kernel.apply([Remove(netns=NODE, object=chosen)])
        await asyncio.sleep(0)
