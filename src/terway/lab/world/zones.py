"""Which zones and vSwitches does a lab have beyond its first? Plans, and what was made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import count
from typing import Any

from terway.model.errors import UsageError
from terway.model.ids import VSwitchId, ZoneId


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePlan:
    """A further zone: a vSwitch for nodes, and one for their pods, which eni-config names."""

    zone_id: str
    node_cidr: IPv4Network
    pod_cidr: IPv4Network


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitchPlan:
    """A vSwitch that nobody uses unless told to: a pod's own. `zone_id` empty: the plan's."""

    name: str
    cidr: IPv4Network
    zone_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneGround:
    """The vSwitches of a zone."""

    node_vswitch_id: VSwitchId
    pod_vswitch_id: VSwitchId


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitchWish:
    """A vSwitch to make; `number` is the last byte of its /64's prefix."""

    name: str
    cidr: IPv4Network
    zone_id: ZoneId
    number: int


Maker = Callable[[VSwitchWish], VSwitchId]


def lay_zones(zones: Iterable[ZonePlan], make: Maker) -> Mapping[str, ZoneGround]:
    """Make the vSwitches of the zones, the plan's own first."""
    made: dict[str, ZoneGround] = {}
    numbers = count(1)
    for index, zone in enumerate(zones):
        where = f"-{zone.zone_id}" if index else ""
        made[zone.zone_id] = ZoneGround(
            node_vswitch_id=make(_wish(f"nodes{where}", zone.node_cidr, zone.zone_id, numbers)),
            pod_vswitch_id=make(_wish(f"pods{where}", zone.pod_cidr, zone.zone_id, numbers)),
        )
    return made


def lay_vswitches(
    plans: Iterable[VSwitchPlan], own_zone_id: str, make: Maker
) -> Mapping[str, VSwitchId]:
    """Make the vSwitches that have names of their own."""
    numbers = count(_FIRST_NAMED)
    return {
        plan.name: make(_wish(plan.name, plan.cidr, plan.zone_id or own_zone_id, numbers))
        for plan in plans
    }


_FIRST_NAMED = 0x80  # behind those of 63 zones


def _wish(name: str, cidr: IPv4Network, zone_id: str, numbers: Iterator[int]) -> VSwitchWish:
    return VSwitchWish(name=name, cidr=cidr, zone_id=ZoneId(zone_id), number=next(numbers))


def check_zones(zone_ids: Iterable[str], pools: Mapping[str, str]) -> None:
    """Raise UsageError for a pool, by name, in a zone that the lab does not have."""
    known = tuple(zone_ids)
    for name, zone_id in pools.items():
        if zone_id and zone_id not in known:
            text = f"pool {name}: zone {zone_id} is none of {', '.join(known)}; add it to zones"
            raise UsageError(text, field="zone_id")


def zone_from_json(raw: Mapping[str, Any]) -> ZonePlan:
    """Rebuild a zone from what `asdict` and JSON made of it."""
    return ZonePlan(
        zone_id=raw["zone_id"],
        node_cidr=IPv4Network(raw["node_cidr"]),
        pod_cidr=IPv4Network(raw["pod_cidr"]),
    )


def vswitch_from_json(raw: Mapping[str, Any]) -> VSwitchPlan:
    """Rebuild a vSwitch from what `asdict` and JSON made of it."""
    return VSwitchPlan(
        name=raw["name"], cidr=IPv4Network(raw["cidr"]), zone_id=raw.get("zone_id", "")
    )
