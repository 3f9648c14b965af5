"""How does an event change an emulated cloud, in a history or in a lab that runs?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, assert_never

from terway.lab.cloud.cloud import Call, Cloud, Reply
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.provision import ECS
from terway.lab.cloud.throttle import REAL_LIMITS
from terway.lab.cloud.transitions import Delays
from terway.lab.cloud.world import World
from terway.lab.faults import events as of
from terway.model.ids import InstanceId

T = TypeVar("T")


class Performer(Protocol):
    """A cloud that can be called."""

    world: World

    def perform(self, call: Call) -> Reply:
        """Answer a call."""
        ...


def pick_of(among: Sequence[T], pick: int) -> T | None:
    """Return one of `among`, None where there is none."""
    return among[pick % len(among)] if among else None


def upset_cloud(
    cloud: Cloud,
    event: of.RefuseCalls
    | of.LoseReplies
    | of.SlowAnswers
    | of.Throttle
    | of.StuckTransitions
    | of.StaleDescribes
    | of.StaleMetadata
    | of.LateAddresses,
) -> None:
    """Let an event of the cloud happen now."""
    match event:
        case of.RefuseCalls():
            cloud.faults.add(
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
            cloud.faults.add(fault)
        case of.SlowAnswers(action=action, delay_s=delay_s, count=count):
            cloud.faults.add(Fault(action=action, count=count, delay_s=delay_s))
        case of.Throttle(per_minute=rate, for_s=for_s):
            cloud.throttle.rates = dict.fromkeys(REAL_LIMITS, rate)
            _later(for_s, lambda: cloud.throttle.rates.update(REAL_LIMITS))
        case of.StuckTransitions(what=what, delay_s=delay_s, for_s=for_s):
            _delay(cloud, f"{what}_s", delay_s, for_s)
        case of.StaleDescribes(lag_s=lag_s, for_s=for_s):
            _delay(cloud, "describe_s", lag_s, for_s)
        case of.StaleMetadata(lag_s=lag_s, for_s=for_s):
            _delay(cloud, "metadata_s", lag_s, for_s)
        case of.LateAddresses(delay_s=delay_s, for_s=for_s):
            _delay(cloud, "assign_s", delay_s, for_s)
        case _:
            assert_never(event)


def _delay(cloud: Cloud, name: str, delay_s: float, for_s: float) -> None:
    _set_delays(cloud, **{name: delay_s})
    usual: float = getattr(Delays(), name)
    _later(for_s, lambda: _set_delays(cloud, **{name: usual}))


def operate(
    cloud: Performer, instance_id: InstanceId, event: of.TakeAddress | of.DetachENI
) -> None:
    """Do to an instance's secondary ENIs what an operator does, through the API."""
    mine = cloud.world.state.enis_of(instance_id)
    enis = sorted((eni for eni in mine if eni.slot), key=lambda eni: eni.id)
    match event:
        case of.TakeAddress(pick=pick):
            found = pick_of([(eni, ip) for eni in enis for ip in sorted(eni.ipv4[1:])], pick)
            if found is not None:
                named = {"NetworkInterfaceId": found[0].id, "PrivateIpAddress.1": str(found[1])}
                _call(cloud, "UnassignPrivateIpAddresses", named)
        case of.DetachENI(pick=pick, deletes=deletes):
            eni = pick_of(enis, pick)
            if eni is None:
                return
            named = {"NetworkInterfaceId": eni.id, "InstanceId": instance_id}
            _call(cloud, "DetachNetworkInterface", named)
            if deletes:
                gone = {"NetworkInterfaceId": eni.id}
                _later(1.5, lambda: _call(cloud, "DeleteNetworkInterface", gone))
        case _:
            assert_never(event)


def _call(cloud: Performer, action: str, named: Mapping[str, str]) -> None:
    region = {"RegionId": cloud.world.place.region_id}
    cloud.perform(Call(version=ECS, action=action, parameters={**region, **named}))


def _set_delays(cloud: Cloud, **delays: float) -> None:
    cloud.world.delays = replace(cloud.world.delays, **delays)  # type: ignore[arg-type]  # floats


def _later(delay_s: float, what: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(delay_s, what)
