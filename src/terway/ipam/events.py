"""What can happen to the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.ipam.commands import CloudCommand
from terway.ipam.failure import Failure
from terway.ipam.settings import PoolConfig
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import AttachmentKey
from terway.model.eni import ENI, VSwitch
from terway.model.ids import ClientToken, ENIId, SecurityGroupId
from terway.model.interface import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquire:
    """An attachment wants an address of each family. Repeating it changes nothing."""

    owner: AttachmentKey
    placement: Placement = field(default_factory=Placement)  # which ENIs it may be on


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """The owner gave up before it used what it was given, if it was given anything."""

    owner: AttachmentKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The owner is gone from the kernel; what it had may rest. Of nothing, it is nothing."""

    owner: AttachmentKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The pool is told something else from now on; what pods have, they keep."""

    config: PoolConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """So many pods, by wish, are on their way to the node and have no address yet."""

    wishes: Mapping[Placement, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What is given to pods elsewhere: true, a pod has it; false, it rests.

    `released` answers recalls by their numbers: nobody has it, and nobody will.
    """

    held: Mapping[IPAddress, bool]
    released: Mapping[IPAddress | IPNetwork, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The cloud made the ENI of an intent, or returned the one it had made before."""

    token: ClientToken
    eni: ENI


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """The cloud gave an ENI addresses: those asked for, or fewer."""

    token: ClientToken
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixesAssigned:
    """The cloud gave an ENI prefixes: those asked for, or fewer."""

    token: ClientToken
    networks: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequested:
    """The cloud accepted the attach of an ENI."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReady:
    """The link of an ENI is there and configured: its addresses can be used."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachRequested:
    """The cloud accepted the detach of an ENI, or has it detached already."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The ENI is gone."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class Unassigned:
    """Addresses were taken from an ENI."""

    eni_id: ENIId
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixesUnassigned:
    """Prefixes were taken from an ENI."""

    eni_id: ENIId
    networks: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroupsSet:
    """An ENI is in these security groups now, and in no other."""

    eni_id: ENIId
    security_group_ids: tuple[SecurityGroupId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackCleared:
    """The kernel no longer remembers these addresses."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A reading of the cloud, asked for at `asked_at`.

    `attached` are all ENIs of the instance. `detached` are those that carry our tags and no
    instance; None when nobody asked for them.
    """

    asked_at: float
    attached: tuple[ENI, ...]
    detached: tuple[ENI, ...] | None = None
    recalled: frozenset[IPAddress | IPNetwork] = frozenset()  # the supplier wants these back
    no_supply: str = ""  # why the supplier will give no more


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitchesObserved:
    """A reading of vSwitches; one that was asked for and is not here does not exist."""

    vswitches: tuple[VSwitch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A command failed. What it asked for may have been done all the same."""

    command: CloudCommand
    failure: Failure


Event = (
    Acquire
    | Withdraw
    | Release
    | Tick
    | Configured
    | Expected
    | Holding
    | Created
    | Assigned
    | PrefixesAssigned
    | AttachRequested
    | LinkReady
    | DetachRequested
    | Deleted
    | Unassigned
    | PrefixesUnassigned
    | SecurityGroupsSet
    | ConntrackCleared
    | Observed
    | VSwitchesObserved
    | Failed
)
