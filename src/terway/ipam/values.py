"""What is the pool made of: addresses, ENIs, intents, and what was learnt about vSwitches.

Times are monotonic seconds, as given to `step`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from terway.model.address import Family, IPAddress
from terway.model.attachment import AttachmentKey
from terway.model.eni import ENIType, VSwitch
from terway.model.ids import (
    ClientToken,
    ENIId,
    MacAddress,
    SecurityGroupId,
    VSwitchId,
)


class AddressPhase(Enum):
    """The life of an address, once the cloud has given it to an ENI.

    FREE ──Acquire──► BOUND ──Release──► COOLING ──rest over, or conntrack cleared──► FREE
    FREE ──surplus──► RETIRING ──unassigned──► (gone)
    """

    FREE = "free"
    BOUND = "bound"
    COOLING = "cooling"
    RETIRING = "retiring"


class ENIPhase(Enum):
    """The life of an ENI. Before it has an id it is a `CreateIntent`.

    (creating) ──► ATTACHING ──link ready──► IN_USE ──surplus──► DETACHING ──► DELETING ──► (gone)
    """

    ATTACHING = "attaching"
    IN_USE = "in use"
    DETACHING = "detaching"
    DELETING = "deleting"

    @property
    def is_leaving(self) -> bool:
        """Return whether the ENI will be gone, and its addresses with it."""
        return self is ENIPhase.DETACHING or self is ENIPhase.DELETING


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How far the cloud call for an ENI or an intent is; repeated until it is answered."""

    failures: int = 0  # in a row
    due_at: float = 0.0  # not to be tried before
    is_running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One address. The pool gives a slot to an owner; dual stack owners have two, of one ENI."""

    address: IPAddress
    eni_id: ENIId
    phase: AddressPhase = AddressPhase.FREE
    is_primary: bool = False  # the ENI's own first address: usable, but never unassigned
    owner: AttachmentKey | None = None
    rests_until: float = 0.0  # the kernel may remember the last owner until then
    is_flushing: bool = False  # its conntrack entries are being deleted
    is_missing: bool = False  # bound here, but the cloud no longer shows it on the ENI


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolENI:
    """One ENI of the pool.

    `is_ours` says that we created it, so that it may be deleted when it is found detached.
    `is_requested` (ATTACHING only) says that the cloud accepted the attach, and only the link is
    awaited. `changed_at` is when an operation of ours last began or ended: an older reading of
    the cloud says nothing about it. `grow_after` holds back assignments after a refusal.
    `is_gone` says that the cloud no longer knows it, although pods here hold addresses of it.
    """

    id: ENIId
    mac: MacAddress
    vswitch_id: VSwitchId
    phase: ENIPhase
    type: ENIType = ENIType.SECONDARY
    is_ours: bool = True
    is_requested: bool = False
    is_gone: bool = False
    attempt: Attempt = field(default_factory=Attempt)
    changed_at: float = 0.0
    grow_after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIntent:
    """An ENI that is being created. Everything the call says is here: a repeat says the same."""

    token: ClientToken
    vswitch_id: VSwitchId
    security_group_ids: tuple[SecurityGroupId, ...]
    tags: tuple[tuple[str, str], ...]
    resource_group_id: str
    ipv4_count: int  # the primary address included
    ipv6_count: int
    attempt: Attempt = field(default_factory=Attempt)

    def count(self, family: Family) -> int:
        """Return how many addresses of `family` will come."""
        return self.ipv4_count if family is Family.V4 else self.ipv6_count


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignIntent:
    """Addresses of one family that are being assigned to an ENI."""

    token: ClientToken
    eni_id: ENIId
    family: Family
    count: int
    attempt: Attempt = field(default_factory=Attempt)


Intent = CreateIntent | AssignIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Something is not worth asking for until then, and why."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitchState:
    """A vSwitch, with the free IPv4 addresses as read and then counted down by us."""

    vswitch: VSwitch
    available: int
    read_at: float
    hold: Hold | None = None

    def is_held(self, now: float) -> bool:
        """Return whether the cloud said, not long ago, that it has no address left."""
        return self.hold is not None and now < self.hold.until

    def taking(self, count: int) -> VSwitchState:
        """Return it with `count` (negative: minus) addresses fewer available."""
        return replace(self, available=max(0, self.available - count))
