"""Which vSwitch does a new ENI come from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terway.ipam import chance
from terway.ipam.settings import IPV4_PER_PREFIX, PoolConfig, VSwitchPolicy
from terway.ipam.values import VSwitchState
from terway.model.address import Family
from terway.model.ids import VSwitchId


@dataclass(frozen=True, slots=True, kw_only=True)
class NoVSwitch:
    """There is none, for these reasons; another look is worth it at `retry_at`."""

    reason: str
    retry_at: float


def choose_vswitch(
    config: PoolConfig,
    known: Mapping[VSwitchId, VSwitchState],
    *,
    draw: int,
    now: float,
    by_prefix: bool = False,
) -> VSwitchState | NoVSwitch:
    """Return the vSwitch that the policy names among those in the zone with addresses left.

    `draw` numbers the choice: a random one differs from draw to draw. `by_prefix` asks for one
    with whole ranges of 16 left.
    """
    fit = [
        known[vswitch_id]
        for vswitch_id in config.vswitch_ids
        if _unfit(config, vswitch_id, known, now, by_prefix) is None
    ]
    if not fit:
        return _none(config, known, now, by_prefix)
    match config.vswitch_policy:
        case VSwitchPolicy.ORDERED:
            return fit[0]
        case VSwitchPolicy.RANDOM:
            return fit[int(chance.fraction(config.token_seed, draw) * len(fit))]
        case VSwitchPolicy.MOST:
            return max(fit, key=lambda state: state.available)


def _unfit(
    config: PoolConfig,
    vswitch_id: VSwitchId,
    known: Mapping[VSwitchId, VSwitchState],
    now: float,
    by_prefix: bool,
) -> str | None:
    """Return why a vSwitch cannot be used, or None."""
    state = known.get(vswitch_id)
    if state is None:
        return "is not known to the cloud"
    if state.vswitch.zone_id != config.zone_id:
        return f"is in zone {state.vswitch.zone_id}, the node in {config.zone_id}"
    if Family.V6 in config.families and state.vswitch.ipv6_cidr is None:
        return "has no IPv6 range"
    if state.is_held(now) or state.available <= 0:
        return "has no free address"
    if by_prefix and (state.is_prefix_held(now) or state.available <= IPV4_PER_PREFIX):
        return f"has no free range of {IPV4_PER_PREFIX} addresses"
    return None


def _none(
    config: PoolConfig, known: Mapping[VSwitchId, VSwitchState], now: float, by_prefix: bool
) -> NoVSwitch:
    if not config.vswitch_ids:
        return NoVSwitch(reason="no vSwitch is configured", retry_at=float("inf"))
    reasons = (f"{one} {_unfit(config, one, known, now, by_prefix)}" for one in config.vswitch_ids)
    return NoVSwitch(reason="; ".join(reasons), retry_at=min(_looks(config, known, now)))


def _looks(
    config: PoolConfig, known: Mapping[VSwitchId, VSwitchState], now: float
) -> Iterator[float]:
    """Yield when each vSwitch is worth another look."""
    for vswitch_id in config.vswitch_ids:
        state = known.get(vswitch_id)
        if state is None:
            yield now + config.vswitch_ttl_s
        elif state.hold is not None and state.is_held(now):
            yield state.hold.until
        elif state.prefix_hold is not None and state.is_prefix_held(now):
            yield state.prefix_hold.until
        else:
            yield state.read_at + config.vswitch_ttl_s
