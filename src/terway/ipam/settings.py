"""What is the pool told to be: sizes, limits, periods and what new ENIs are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.address import Family
from terway.model.ids import InstanceId, SecurityGroupId, VSwitchId, ZoneId

BATCH = 10  # addresses in one call, at most: AssignPrivateIpAddresses and its kin
CREATOR_TAG = ("creator", "terway")
# Names the instance an ENI was created for, so that it is found although a crash came right after.
INSTANCE_TAG = "terway.alibabacloud.com/instance"
# Names the intent, so that an ENI whose creation is about to be repeated is not taken for litter.
INTENT_TAG = "terway.alibabacloud.com/intent"
DESCRIPTION = "interface create by terway"


class VSwitchPolicy(Enum):
    """Which vSwitch a new ENI comes from. Each does what it says."""

    ORDERED = "ordered"  # the first of the list with room
    RANDOM = "random"
    MOST = "most"  # the one with most free addresses


class ENIPolicy(Enum):
    """Which ENI an address is taken from, and which is emptied last."""

    MOST_IPS = "most_ips"  # pack
    LEAST_IPS = "least_ips"  # spread


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """Everything the pool is told. One value for the life of the process.

    `eni_slots` is what the instance type allows beside the primary ENI; `max_enis` what the user
    allows of these. `max_free` is at least `min_free`; both count addresses a pod needs, that is
    pairs in dual stack.
    """

    instance_id: InstanceId
    zone_id: ZoneId
    families: tuple[Family, ...]
    vswitch_ids: tuple[VSwitchId, ...]
    security_group_ids: tuple[SecurityGroupId, ...]
    eni_slots: int
    max_enis: int
    ipv4_per_eni: int  # the ENI's primary address included
    ipv6_per_eni: int = 0
    min_free: int = 0
    max_free: int = 0
    token_seed: str  # differs for every start of the process: tokens must never repeat
    vswitch_policy: VSwitchPolicy = VSwitchPolicy.RANDOM
    eni_policy: ENIPolicy = ENIPolicy.MOST_IPS
    eni_tags: tuple[tuple[str, str], ...] = ()
    tag_filter: tuple[tuple[str, str], ...] = ()
    tag_blocklist: tuple[tuple[str, str], ...] = ()
    resource_group_id: str = ""
    cooldown_s: float = 30.0
    coalesce_s: float = 0.02  # demand that arrives within it becomes one call
    trim_after_s: float = 120.0  # a surplus must last that long: pods come back
    reclaim_after_s: float | None = None  # an untouched pool shrinks to min_free after that
    reclaim_interval_s: float = 600.0
    reclaim_batch: int = 5
    observe_every_s: float = 120.0
    orphans_every_s: float = 600.0
    settle_s: float = 5.0  # the cloud's answers may be that much behind its deeds
    detach_s: float = 5.0  # from a detach to the first try to delete
    vswitch_ttl_s: float = 600.0
    vswitch_hold_s: float = 600.0
    quota_hold_s: float = 60.0
    calls_per_s: float = 5.0
    call_burst: float = 20.0

    def per_eni(self, family: Family) -> int:
        """Return how many addresses of `family` an ENI can have."""
        return self.ipv4_per_eni if family is Family.V4 else self.ipv6_per_eni

    @property
    def pods_per_eni(self) -> int:
        """Return how many pods an ENI has addresses for."""
        return min(self.per_eni(family) for family in self.families)

    @property
    def capacity(self) -> int:
        """Return how many pods the node has addresses for, all limits reached."""
        return self.max_enis * self.pods_per_eni
