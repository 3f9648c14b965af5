"""What should the kernel have for a pod that shares an ENI? By the mode that it was made in."""

from __future__ import annotations

from dataclasses import replace

from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.ipvlan import desired_child
from terway.datapath.veth import desired_attachment
from terway.model.attachment import Attachment
from terway.model.interface import Mode
from terway.model.network import AttachmentState


def desired_of(attachment: Attachment, *, eni: ENILink, node: NodeFacts) -> AttachmentState:
    """Return what the kernel should have for `attachment`, whose addresses are of `eni`."""
    if attachment.spec.mode is Mode.IPVLAN:
        return desired_child(attachment, eni=eni, node=node)
    desired = desired_attachment(attachment, eni=eni, node=node)
    # Of what is left alone nothing is desired: it is known by its addresses, to be undone by them.
    return replace(desired, node=(), pod=()) if attachment.spec.is_left_alone else desired
