"""What does a pod have that is a member ENI over the node's trunk? The plan of any pod, and a tag.

    pod ◄─ veth ─► node ─ rule 2048 ─► table of the trunk ─► trunk ─ program: tag, MAC ─► VPC

With `vlan_strip_type: vlan` the pod has a VLAN device over the trunk (8021q) and a second leg, as
one with an ENI of its own (`datapath.exclusive`); programs at the trunk see to it that its tag
comes with its own addresses alone.

The member's gateway need not be on the node: every router of the VPC shows one MAC
(ee:ff:ff:ff:ff:ff), so the trunk's own gateway is the next hop, and the tag says for whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.model.attachment import Attachment
from terway.model.device import VlanPort
from terway.model.interface import Mode
from terway.model.network import AttachmentState
from terway.model.traffic import TrunkMember, TrunkPrograms


def members_of(attachment: Attachment, trunk: str) -> Iterator[TrunkMember]:
    """Yield the member that the attachment is on the link `trunk`; none where that is not there."""
    own = attachment.spec.own_eni
    if own is None or own.trunk_mac is None or not trunk:
        return
    yield TrunkMember(
        link=trunk,
        vlan_id=own.vlan_id,
        mac=attachment.lease.eni_mac,
        addresses=attachment.lease.addresses,
        has_device=has_vlan_device(attachment),
    )


def has_vlan_device(attachment: Attachment) -> bool:
    """Return whether the member has a VLAN device in its pod, instead of a veth."""
    own = attachment.spec.own_eni
    is_member = own is not None and own.trunk_mac is not None
    return is_member and attachment.spec.mode is Mode.EXCLUSIVE


def vlan_port(attachment: Attachment, trunk: str) -> VlanPort | None:
    """Return what the member's VLAN device is over; None where it has none.

    `trunk` is the trunk's link, empty while it is not there.
    """
    own = attachment.spec.own_eni
    if own is None or not has_vlan_device(attachment):
        return None
    return VlanPort(parent=trunk, vlan_id=own.vlan_id)


def members_among(attachments: Iterable[Attachment]) -> tuple[TrunkMember, ...]:
    """Return the members that there are, whether or not their trunk is there at the moment.

    Their links are named so that nobody takes them for links.
    """
    return tuple(one for held in attachments for one in members_of(held, "(trunk)"))


def trunk_programs(pods: Iterable[AttachmentState]) -> tuple[TrunkPrograms, ...]:
    """Return what the trunks have at their hooks of which `pods` are members."""
    names = {one.link for pod in pods for one in pod.node if isinstance(one, TrunkMember)}
    return tuple(TrunkPrograms(link=name) for name in sorted(names))
