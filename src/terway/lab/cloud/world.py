"""What may an action use? The records, the time, names for new things, and the cloud's habits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from terway.lab.cloud.history import ENIs, History
from terway.lab.cloud.ids import IdSource
from terway.lab.cloud.instance_types import Catalogue, InstanceType
from terway.lab.cloud.keyring import Keyring
from terway.lab.cloud.refusal import Refusal, not_found
from terway.lab.cloud.state import State
from terway.lab.cloud.transitions import Agenda, Delays, Transition
from terway.model.ids import RegionId, ZoneId


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Quotas of the account. Source: help page "Limits", defaults of 2026."""

    groups_per_eni: int = 10
    rules_per_group: int = 200
    vswitches_per_vpc: int = 150
    routes_per_table: int = 200
    tags_per_resource: int = 20
    ipv4_per_detached_eni: int = 50  # its primary address included
    ipv6_per_call: int = 10
    ipv4_per_create: int = 49  # secondary addresses
    load_balancers: int = 60  # instances, of CLB and of NLB each
    listeners_per_balancer: int = 50
    servers_per_group: int = 200


HANGZHOU = RegionId("cn-hangzhou")
HANGZHOU_ZONES = tuple(ZoneId(f"cn-hangzhou-{letter}") for letter in "hij")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the cloud is: one region of one account."""

    region_id: RegionId = HANGZHOU
    zone_ids: tuple[ZoneId, ...] = HANGZHOU_ZONES
    account_id: str = "1234567890123456"


class World:
    """The one mutable thing that actions get."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        seed: int,
        place: Place,
        delays: Delays,
        limits: Limits,
        types: Catalogue,
    ) -> None:
        self.state = State()
        self.agenda = Agenda()
        self.history = History(self.state.enis)
        self.ids = IdSource(seed)
        self.keyring = Keyring(self.ids, clock=clock, account_id=place.account_id)
        self.place = place
        self.delays = delays  # may be replaced while running
        self.limits = limits
        self.types = types
        self._clock = clock

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._clock()

    def listed_enis(self) -> ENIs:
        """Return the ENIs as lists show them: they may be behind what was done."""
        lag_s = self.delays.describe_s
        return self.history.at(self.now() - lag_s) if lag_s else self.state.enis

    def is_pending(self, created_at: float) -> bool:
        """Return whether a VPC or vSwitch of that time is not Available yet."""
        return self.now() - created_at < self.delays.network_s

    def later(self, delay_s: float, transition: Transition) -> None:
        """Schedule a transition."""
        self.agenda.add(self.now() + delay_s, transition)

    def type_of(self, instance_type: str) -> InstanceType:
        """Return an instance type. Raises Refusal."""
        if instance_type not in self.types:
            message = f"The specified InstanceType {instance_type} does not exist."
            raise Refusal("InvalidInstanceType.ValueNotSupported", message)
        return self.types[instance_type]

    def check_region(self, region_id: str) -> None:
        """Refuse another region than the cloud's own; empty is the own one."""
        if region_id not in ("", self.place.region_id):
            raise not_found("RegionId", region_id)

    def check_zone(self, zone_id: str) -> ZoneId:
        """Return the zone, or refuse one that the region does not have."""
        if zone_id not in self.place.zone_ids:
            raise not_found("ZoneId", zone_id)
        return ZoneId(zone_id)


def utc_minutes(at: float) -> str:
    """Return a time as ECS writes it: ``2026-01-02T03:04Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def utc_seconds(at: float) -> str:
    """Return a time as VPC, STS and ENIs write it: ``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
