"""What the pool wants done. Whatever a step changed is made durable before its commands begin.

The commands of one step do not depend on each other and may run side by side; each ends in
exactly one event: the one it names, or `Failed` with itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.ipam.values import AssignIntent, CreateIntent
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import AttachmentKey, Lease
from terway.model.ids import ENIId, MacAddress, SecurityGroupId, VSwitchId


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Write the attachment of `owner`, then answer it. No event follows."""

    owner: AttachmentKey
    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Tell `owner` that there is no address for it, and why. No event follows."""

    owner: AttachmentKey
    reason: str
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateENI:
    """→ Created."""

    intent: CreateIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignAddresses:
    """→ Assigned, or PrefixesAssigned."""

    intent: AssignIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachENI:
    """→ AttachRequested."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLink:
    """→ LinkReady. Asks the kernel, not the cloud."""

    eni_id: ENIId
    mac: MacAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachENI:
    """→ DetachRequested."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteENI:
    """→ Deleted."""

    eni_id: ENIId


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignAddresses:
    """→ Unassigned."""

    eni_id: ENIId
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassignPrefixes:
    """→ PrefixesUnassigned."""

    eni_id: ENIId
    networks: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSecurityGroups:
    """→ SecurityGroupsSet."""

    eni_id: ENIId
    security_group_ids: tuple[SecurityGroupId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushConntrack:
    """→ ConntrackCleared. Asks the kernel, not the cloud."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """→ Observed; with `detached`, of our ENIs that are attached to nothing as well."""

    detached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveVSwitches:
    """→ VSwitchesObserved."""

    ids: tuple[VSwitchId, ...]


CloudCommand = (
    CreateENI
    | AssignAddresses
    | AttachENI
    | WaitLink
    | DetachENI
    | DeleteENI
    | UnassignAddresses
    | UnassignPrefixes
    | SetSecurityGroups
    | FlushConntrack
    | Observe
    | ObserveVSwitches
)
Command = Bind | Refuse | CloudCommand
