"""What each attachment should have in the kernel, worked out once and remembered.

It is a function of three values that hardly ever change; working it out for 250 pods takes half
as long as reading the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.shared import desired_of
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.network import AttachmentState


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a state was worked out from, and the state."""

    attachment: Attachment
    eni: ENILink
    node: NodeFacts
    state: AttachmentState


class DesiredStates:
    """The desired states of the attachments that were asked for."""

    def __init__(self) -> None:
        self._known: dict[AttachmentKey, _Known] = {}

    def of(self, attachment: Attachment, *, eni: ENILink, node: NodeFacts) -> AttachmentState:
        """Return what the kernel should have for `attachment`."""
        known = self._known.get(attachment.key)
        is_same = known is not None and known.attachment is attachment and known.node is node
        if known is not None and is_same and known.eni == eni:
            return known.state
        state = desired_of(attachment, eni=eni, node=node)
        self._known[attachment.key] = _Known(attachment=attachment, eni=eni, node=node, state=state)
        return state

    def keep(self, keys: Iterable[AttachmentKey]) -> None:
        """Forget all but `keys`."""
        kept = frozenset(keys)
        self._known = {key: one for key, one in self._known.items() if key in kept}
