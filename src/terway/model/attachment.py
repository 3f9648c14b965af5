"""The attachment: one interface of one container, and everything we gave it.

It is the one record that decides: written to the journal before the kernel is touched, and
removed after the kernel is clean. Its key is the container id and interface name, as CNI has it;
the pod's name is only a fact about it (two sandboxes of one pod are two attachments).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from terway.model.address import IPPair
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.interface import InterfaceSpec
from terway.model.moment import Moment


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AttachmentKey:
    """The name of an attachment: CNI_CONTAINERID and CNI_IFNAME."""

    container_id: ContainerId
    ifname: str

    def __str__(self) -> str:
        return f"{self.container_id}/{self.ifname}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRef:
    """A pod as CNI_ARGS names it. `uid` is empty where the runtime does not tell it."""

    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the pool gave an attachment: addresses of one ENI, the same for every retry."""

    eni_id: ENIId
    eni_mac: MacAddress
    addresses: IPPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One attachment, as the journal holds it."""

    key: AttachmentKey
    network: str  # `name` of the CNI configuration that made it; GC never crosses networks
    netns: str  # path as CNI_NETNS gave it; may be gone by now
    pod: PodRef | None  # None for a container that Kubernetes does not know (`ctr run --cni`)
    lease: Lease
    made_at: Moment  # a DEL or a GC list that is older means another attachment
    spec: InterfaceSpec = field(default_factory=InterfaceSpec)

    @property
    def device_mac(self) -> MacAddress:
        """Return the MAC of the ENI whose device carries the packets: a member's trunk has it."""
        own = self.spec.own_eni
        return self.lease.eni_mac if own is None or own.trunk_mac is None else own.trunk_mac

    @property
    def owner(self) -> AttachmentKey:
        """Return the key of the ADD that made this attachment: its own, or its parent's.

        All attachments of one owner come, are checked and go together.
        """
        if not self.spec.parent:
            return self.key
        return AttachmentKey(container_id=self.key.container_id, ifname=self.spec.parent)
