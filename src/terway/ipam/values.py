"""What is the pool made of: addresses, prefixes, ENIs, intents, and what was learnt of vSwitches.

Times are monotonic seconds, as given to `step`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from terway.model.address import Family, IPAddress, IPNetwork
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


class PrefixPhase(Enum):
    """The life of a prefix, once the cloud has given it to an ENI.

    VALID ◄──count raised / lowered──► DRAINING ──empty──► RETIRING ──unassigned──► (gone)
    VALID, DRAINING ──the cloud took it, pods hold addresses of it──► LOST ──last pod──► (gone)
    """

    VALID = "valid"
    DRAINING = "draining"  # gives no new addresses
    RETIRING = "retiring"
    LOST = "lost"


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
    """One address. The pool gives a slot to an owner; dual stack owners have two, of one ENI.

    An address of a prefix has a slot only while it is bound or rests.
    """

    address: IPAddress
    eni_id: ENIId
    phase: AddressPhase = AddressPhase.FREE
    prefix: IPNetwork | None = None
    is_primary: bool = False  # the ENI's own first address: usable, but never unassigned
    owner: AttachmentKey | None = None
    rests_until: float = 0.0  # the kernel may remember the last owner until then
    is_flushing: bool = False  # its conntrack entries are being deleted
    is_missing: bool = False  # bound here, but the cloud no longer shows it on the ENI
    recall: int = 0  # of a supplier: the number of the wish to have it back; 0: no such wish
    is_released: bool = False  # of a supplier: nobody has it any more, or will have


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A range that the cloud routes to an ENI whole: /28 or /80. Its addresses are given singly.

    Before `rests_until` none is: whose they were is not known.
    """

    network: IPNetwork
    eni_id: ENIId
    phase: PrefixPhase = PrefixPhase.VALID
    rests_until: float = 0.0
    recall: int = 0
    is_released: bool = False

    @property
    def family(self) -> Family:
        """Return the family."""
        return Family.V4 if self.network.version == 4 else Family.V6


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolENI:
    """One ENI of the pool.

    `is_ours` says that we created it, so that it may be deleted when it is found detached.
    `is_requested` (ATTACHING only) says that the cloud accepted the attach, and only the link is
    awaited. `changed_at` is when an operation of ours last began or ended: an older reading of
    the cloud says nothing about it. `grow_after` holds back assignments after a refusal.
    `is_gone` says that the cloud no longer knows it, although pods here hold addresses of it.
    `security_group_ids` are those last seen, empty before; `own_group_ids` those that a pod asked
    for, empty where the ENI follows the configuration.
    """

    id: ENIId
    mac: MacAddress
    vswitch_id: VSwitchId
    phase: ENIPhase
    type: ENIType = ENIType.SECONDARY
    is_ours: bool = True
    is_requested: bool = False
    is_gone: bool = False
    is_erdma: bool = False  # for pods that ask for RDMA, and for nobody else
    is_excluded: bool = False  # a person took it out of the pool while pods live on it
    security_group_ids: tuple[SecurityGroupId, ...] = ()
    own_group_ids: tuple[SecurityGroupId, ...] = ()
    attempt: Attempt = field(default_factory=Attempt)
    changed_at: float = 0.0
    grow_after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIntent:
    """An ENI that is being created. Everything the call says is here: a repeat says the same.

    It asks for single addresses or for prefixes; the primary address comes with either.
    """

    token: ClientToken
    vswitch_id: VSwitchId
    security_group_ids: tuple[SecurityGroupId, ...]
    tags: tuple[tuple[str, str], ...]
    resource_group_id: str
    ipv4_count: int  # the primary address included
    ipv6_count: int
    ipv4_prefixes: int = 0
    ipv6_prefixes: int = 0
    is_erdma: bool = False
    is_trunk: bool = False
    has_own_groups: bool = False  # a pod asked for these security groups
    attempt: Attempt = field(default_factory=Attempt)

    @property
    def own_group_ids(self) -> tuple[SecurityGroupId, ...]:
        """Return the security groups that a pod asked for."""
        return self.security_group_ids if self.has_own_groups else ()

    def count(self, family: Family) -> int:
        """Return how many single addresses of `family` will come."""
        return self.ipv4_count if family is Family.V4 else self.ipv6_count

    def prefixes(self, family: Family) -> int:
        """Return how many prefixes of `family` will come."""
        return self.ipv4_prefixes if family is Family.V4 else self.ipv6_prefixes


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignIntent:
    """Addresses, or prefixes, of one family that are being assigned to an ENI."""

    token: ClientToken
    eni_id: ENIId
    family: Family
    count: int
    is_prefix: bool = False
    attempt: Attempt = field(default_factory=Attempt)


Intent = CreateIntent | AssignIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Something is not worth asking for until then, and why."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitchState:
    """A vSwitch, with the free IPv4 addresses as read and then counted by us.

    `prefix_hold`: it may have addresses left and no whole range of 16.
    """

    vswitch: VSwitch
    available: int
    read_at: float
    hold: Hold | None = None
    prefix_hold: Hold | None = None

    def is_held(self, now: float) -> bool:
        """Return whether the cloud said, not long ago, that it has no address left."""
        return self.hold is not None and now < self.hold.until

    def is_prefix_held(self, now: float) -> bool:
        """Return whether the cloud said, not long ago, that it has no prefix left."""
        return self.prefix_hold is not None and now < self.prefix_hold.until

    def taking(self, count: int) -> VSwitchState:
        """Return it with `count` (negative: minus) addresses fewer available.

        Below nothing, where more was given or asked for than was known to be there.
        """
        return replace(self, available=self.available - count)
