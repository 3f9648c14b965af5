"""From which vSwitches do the ENIs of a pod come, and so in which zone?

All ENIs of a pod must be in one zone, that of its node. A pod that has a node has its zone; for
one that waits for its ENIs before it is scheduled, the first zone that has addresses for all of
its networks is as good as any: so an exhausted zone does not hold it up.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from terway.model.eni import VSwitch
from terway.model.ids import VSwitchId, ZoneId
from terway.model.pod_network import PodNetwork, VSwitchChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """A vSwitch, and how many addresses are left as far as we know: what we took is subtracted."""

    vswitch: VSwitch
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """All networks have a vSwitch of one zone: `vswitches` is by interface."""

    zone_id: ZoneId
    vswitches: Mapping[str, VSwitchId]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPlace:
    """There is none, for this reason."""

    reason: str


def place(
    networks: Sequence[PodNetwork],
    known: Mapping[VSwitchId, Supply],
    *,
    zone_id: ZoneId | None,
    needs_ipv6: bool,
    draw: str,
) -> Placed | NoPlace:
    """Return vSwitches for all of `networks`: in `zone_id`, or where there are some if it is None.

    `draw` is what a random choice depends on, so that the same question has the same answer.
    """
    zones = (zone_id,) if zone_id is not None else tuple(_zones(networks, known))
    for zone in zones:
        chosen = _place_in(_Zone(zone, known, needs_ipv6, draw), networks)
        if chosen is not None:
            return Placed(zone_id=zone, vswitches=chosen)
    return NoPlace(reason=_reason(networks, known, zone_id, needs_ipv6))


@dataclass(frozen=True, slots=True)
class _Zone:
    """One zone that is tried."""

    zone_id: ZoneId
    known: Mapping[VSwitchId, Supply]
    needs_ipv6: bool
    draw: str


def _place_in(zone: _Zone, networks: Sequence[PodNetwork]) -> dict[str, VSwitchId] | None:
    """Return a vSwitch of the zone for each network, None if one has none."""
    left = {vswitch_id: supply.available for vswitch_id, supply in zone.known.items()}
    chosen: dict[str, VSwitchId] = {}
    for one in networks:
        found = _choose(one, zone, left)
        if found is None:
            return None
        left[found] -= 1
        chosen[one.interface] = found
    return chosen


def _zones(networks: Sequence[PodNetwork], known: Mapping[VSwitchId, Supply]) -> Iterator[ZoneId]:
    """Yield the zones of the networks' vSwitches: as they are listed, each once."""
    listed = (
        known[vswitch_id].vswitch.zone_id
        for one in networks
        for vswitch_id in one.vswitch_ids
        if vswitch_id in known
    )
    yield from dict.fromkeys(listed)


def _choose(network: PodNetwork, zone: _Zone, left: Mapping[VSwitchId, int]) -> VSwitchId | None:
    fit = [
        one
        for one in network.vswitch_ids
        if _unfit(zone.known.get(one), left.get(one, 0), zone.zone_id, zone.needs_ipv6) is None
    ]
    if not fit:
        return None
    match network.vswitch_choice:
        case VSwitchChoice.RANDOM:
            return fit[zlib.crc32(f"{zone.draw}/{network.interface}".encode()) % len(fit)]
        case VSwitchChoice.MOST:
            return max(fit, key=lambda one: left[one])
        case VSwitchChoice.ORDERED | VSwitchChoice.UNSAID:
            return fit[0]


def _unfit(
    supply: Supply | None, left: int, zone_id: ZoneId | None, needs_ipv6: bool
) -> str | None:
    """Return why a vSwitch cannot be used, or None."""
    if supply is None:
        return "is not known to the cloud"
    if zone_id is not None and supply.vswitch.zone_id != zone_id:
        return f"is in zone {supply.vswitch.zone_id}, the pod in {zone_id}"
    if needs_ipv6 and supply.vswitch.ipv6_cidr is None:
        return "has no IPv6 range"
    if left <= 0:
        return "has no free address"
    return None


def _reason(
    networks: Sequence[PodNetwork],
    known: Mapping[VSwitchId, Supply],
    zone_id: ZoneId | None,
    needs_ipv6: bool,
) -> str:
    listed = dict.fromkeys(one for network in networks for one in network.vswitch_ids)
    found: list[str] = []
    for one in listed:
        supply = known.get(one)
        why = _unfit(supply, supply.available if supply else 0, zone_id, needs_ipv6)
        if why is not None:
            found.append(f"{one} {why}")
    said = "; ".join(found) or "each has a vSwitch, but no zone has one for all of them"
    return f"no vSwitch for {', '.join(one.interface for one in networks)}: {said}"
