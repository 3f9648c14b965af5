"""What is written to the journal? The records, a batch of changes, and the whole.

Times are seconds since the epoch: a monotonic clock means nothing after a reboot.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.address import Family, IPAddress, IPNetwork
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.eni import VSwitch
from terway.model.errors import VpcError
from terway.model.ids import (
    ClientToken,
    ENIId,
    MacAddress,
    SecurityGroupId,
    VSwitchId,
)


class StoreError(VpcError):
    """The journal cannot be read or written; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRecord:
    """An address of the pool. Who holds it is told by the attachments alone."""

    address: IPAddress
    eni_id: ENIId
    is_primary: bool
    is_retiring: bool  # asked, or about to be asked, to be taken from the ENI
    rests_until: float  # not to be given to anybody before


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRecord:
    """A prefix of the pool. `phase` is the pool's word for it; its addresses rest until then."""

    network: IPNetwork
    eni_id: ENIId
    phase: str
    rests_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRecord:
    """Something that has happened once in the life of the journal, and will not again."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIRecord:
    """An ENI of the pool. `phase` is the pool's word for it: "attaching", "deleting", …

    `own_group_ids` are security groups that a pod asked for, not the configuration.
    """

    id: ENIId
    mac: MacAddress
    vswitch_id: VSwitchId
    phase: str
    is_ours: bool
    own_group_ids: tuple[SecurityGroupId, ...] = ()
    is_erdma: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRecord:
    """The intent to create an ENI: with the same token and values, the call can be repeated."""

    token: ClientToken
    vswitch_id: VSwitchId
    security_group_ids: tuple[SecurityGroupId, ...]
    tags: tuple[tuple[str, str], ...]
    resource_group_id: str
    ipv4_count: int
    ipv6_count: int
    ipv4_prefixes: int = 0
    ipv6_prefixes: int = 0
    is_erdma: bool = False
    has_own_groups: bool = False
    is_trunk: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignRecord:
    """The intent to give an ENI more addresses or prefixes; repeatable as a CreateRecord is."""

    token: ClientToken
    eni_id: ENIId
    family: Family
    count: int
    is_prefix: bool = False


IntentRecord = CreateRecord | AssignRecord
# A vSwitch is there for its ranges: with them, ENIs serve although the cloud does not answer.
Record = (
    Attachment
    | SlotRecord
    | PrefixRecord
    | ENIRecord
    | VSwitch
    | CreateRecord
    | AssignRecord
    | MarkRecord
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes that become durable together or not at all; deletions come first."""

    put: tuple[Record, ...] = ()
    delete_attachments: tuple[AttachmentKey, ...] = ()
    delete_slots: tuple[IPAddress, ...] = ()
    delete_prefixes: tuple[IPNetwork, ...] = ()
    delete_enis: tuple[ENIId, ...] = ()
    delete_intents: tuple[ClientToken, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(
            self.put
            or self.delete_attachments
            or self.delete_slots
            or self.delete_prefixes
            or self.delete_enis
            or self.delete_intents
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """All that the journal holds, in a stable order."""

    attachments: tuple[Attachment, ...] = ()
    slots: tuple[SlotRecord, ...] = ()
    enis: tuple[ENIRecord, ...] = ()
    intents: tuple[IntentRecord, ...] = ()
    vswitches: tuple[VSwitch, ...] = ()
    prefixes: tuple[PrefixRecord, ...] = ()
    marks: tuple[MarkRecord, ...] = ()
