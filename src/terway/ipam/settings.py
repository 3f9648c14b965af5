"""What is the pool told to be: sizes, limits, periods and what new ENIs are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.address import Family
from terway.model.ids import InstanceId, SecurityGroupId, VSwitchId, ZoneId

BATCH = 10  # addresses or prefixes in one call, at most: AssignPrivateIpAddresses and its kin
# IPv4 addresses of a new ENI, at most: 49 beside its primary one.
# Source: help page CreateNetworkInterface, SecondaryPrivateIpAddressCount.
CREATE_BATCH = 50
# How many addresses a prefix gives: all of a /28, and as much of a /80 as anybody needs.
PREFIX_ADDRESSES = {Family.V4: 16, Family.V6: 65535}
IPV4_PER_PREFIX = PREFIX_ADDRESSES[Family.V4]
CREATOR_TAG = ("creator", "terway")
POD_ENI_TAG = ("creator", "terway-controller")  # of the ENIs that PodENIs have: no pool's
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


class Half(Enum):
    """Which half of a pool's work is done here: see docs/design/pools.md.

    SUPPLY: addresses are given to pods elsewhere, by one who is asked before any is taken back.
    USE: addresses are given to pods here; readings show what there is, and nothing is called.
    """

    BOTH = "both"
    SUPPLY = "supply"
    USE = "use"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """Everything the pool is told. `Configured` replaces it while the pool lives.

    `eni_slots` is what the instance type allows beside the primary ENI; `max_enis` what the user
    allows of these. `max_free` is at least `min_free`; both count addresses a pod needs, that is
    pairs in dual stack. With `has_prefixes` ordinary pods get addresses of prefixes, of which the
    node has exactly `ipv4_prefixes` (without IPv4 `ipv6_prefixes`; in dual stack each ENI with
    IPv4 prefixes has one of IPv6); `min_free`, `max_free` and `warm_up` say nothing then.
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
    warm_up: int = 0  # addresses to have once in the life of the journal; may exceed `max_free`
    create_batch: int = BATCH  # IPv4 addresses that a new ENI brings along, at most
    has_prefixes: bool = False
    ipv4_prefixes: int = 0
    ipv6_prefixes: int = 0
    pod_enis: int = 0  # whole ENIs of single pods, whose slots are theirs; SUPPLY only
    erdma_enis: int = 0  # 0: those ENIs are left to whoever made them
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
    reclaim_jitter: float = 0.1  # of the interval, on top of it
    observe_every_s: float = 120.0
    orphans_every_s: float = 600.0
    settle_s: float = 5.0  # the cloud's answers may be that much behind its deeds
    detach_s: float = 5.0  # from a detach to the first try to delete
    vswitch_ttl_s: float = 600.0
    vswitch_doubt_s: float = 600.0  # the same, of one that is believed empty
    vswitch_hold_s: float = 600.0
    quota_hold_s: float = 60.0
    calls_per_s: float = 5.0
    call_burst: float = 20.0
    rate_limits: tuple[tuple[str, float], ...] = ()  # calls per minute, by action
    half: Half = Half.BOTH
    has_trunk: bool = False  # the node is to have one Trunk-type ENI, before any other
    may_grow: bool = True  # degradation: no more addresses and ENIs are asked for
    may_shrink: bool = True  # degradation: nothing is given back

    @property
    def is_supplier(self) -> bool:
        """Return whether addresses are given to pods elsewhere."""
        return self.half is Half.SUPPLY

    @property
    def is_supplied(self) -> bool:
        """Return whether somebody else sees to it that there are addresses."""
        return self.half is Half.USE

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
        enis = max(0, min(self.max_enis, self.eni_slots - self.pod_enis))
        if not self.has_prefixes:
            return enis * self.pods_per_eni
        prefixes = min(self.prefixes, enis * self.prefixes_per_eni)
        return prefixes * PREFIX_ADDRESSES[self.families[0]]

    @property
    def prefixes_per_eni(self) -> int:
        """Return how many prefixes of the first family an ENI has room for."""
        primary = 1 if self.families[0] is Family.V4 else 0
        return max(0, self.per_eni(self.families[0]) - primary)

    @property
    def prefixes(self) -> int:
        """Return how many prefixes of the first family the node is to have."""
        if not self.has_prefixes:
            return 0
        return self.ipv4_prefixes if Family.V4 in self.families else self.ipv6_prefixes
