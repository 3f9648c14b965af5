"""What each attachment should have in the kernel, worked out once and remembered.

It is a function of three values that hardly ever change; working it out for 250 pods takes half
as long as reading the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.veth import desired_attachment
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.network import AttachmentState


class DesiredStates:
    """The desired states of the attachments that were asked for."""

    def __init__(self) -> None:
        self._known: dict[AttachmentKey, tuple[Attachment, ENILink, AttachmentState]] = {}

    def of(self, attachment: Attachment, *, eni: ENILink, node: NodeFacts) -> AttachmentState:
        """Return what the kernel should have for `attachment`; `node` is the same each time."""
        known = self._known.get(attachment.key)
        if known is not None and known[0] is attachment and known[1] == eni:
            return known[2]
        state = desired_attachment(attachment, eni=eni, node=node)
        self._known[attachment.key] = (attachment, eni, state)
        return state

    def keep(self, keys: Iterable[AttachmentKey]) -> None:
        """Forget all but `keys`."""
        kept = frozenset(keys)
        self._known = {key: one for key, one in self._known.items() if key in kept}
