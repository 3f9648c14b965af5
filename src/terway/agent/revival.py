"""Is a veth made again that somebody deleted under a running pod? Where it is the pod's for sure.

seen whole ──► remembered: the namespace's identity
host link gone ──► the path leads to that very namespace ──► made again
               └─► it does not, or was never seen whole ──► told once, with the remedy

A path alone proves nothing: a process id is used again, and so is the number of an inode.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from terway.agent.mender import Mender
from terway.agent.netns import is_own_netns
from terway.datapath.plan import has_link, plan_attach
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.network import AttachmentState

_UNKNOWN = "terwayd has not seen the pod's namespace since it started"
_OTHER = "the namespace at its path is not the pod's any more"
_TAKEN = "the pod has another interface of the name by now"


class Homes:
    """In which namespace each attachment was seen whole. In memory: a path outlives nothing."""

    def __init__(self) -> None:
        self._seen: dict[AttachmentKey, str] = {}
        self._left: set[AttachmentKey] = set()

    def see(self, key: AttachmentKey, desired: AttachmentState, actual: AttachmentState) -> None:
        """Remember where an attachment is, if `actual` is whole."""
        if actual.is_paired and actual.alias == desired.alias and actual.netns_id:
            self._seen[key] = actual.netns_id
            self._left.discard(key)

    def leave(self, key: AttachmentKey) -> None:
        """Take note that an attachment was undone: nobody misses its link."""
        self._seen.pop(key, None)
        self._left.add(key)

    def has_left(self, key: AttachmentKey) -> bool:
        """Return whether an attachment was undone, and not seen whole since."""
        return key in self._left

    def doubt(self, key: AttachmentKey, actual: AttachmentState) -> str:
        """Return why the namespace that was read may be a stranger's; empty when it is not."""
        known = self._seen.get(key)
        if known is None:
            return _UNKNOWN
        return "" if known == actual.netns_id else _OTHER

    def keep(self, keys: Iterable[AttachmentKey]) -> None:
        """Forget all but `keys`."""
        kept = frozenset(keys)
        self._seen = {key: one for key, one in self._seen.items() if key in kept}
        self._left &= kept


class Revival:
    """Makes veths again. No attachment may be swept meanwhile."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.homes = Homes()

    async def revive(
        self, attachment: Attachment, desired: AttachmentState, mender: Mender
    ) -> bool:
        """Make the veth of an attachment if its host link is gone; return whether it was made.

        Where the namespace has ended nothing is missed, and where the host link is there, it is
        the pod that moved or renamed its end.
        """
        actual = await self._kernel.read_attachment(desired)
        if has_link(actual.node, desired.birth.host.name) or not self._is_missed(
            attachment, actual
        ):
            return False
        doubt = self.homes.doubt(attachment.key, actual)
        if not doubt and has_link(actual.pod, desired.birth.peer.name):
            doubt = _TAKEN
        if doubt:
            mender.lost(attachment, link=desired.birth.host.name, why=doubt)
            return False
        wanted = replace(desired, birth=replace(desired.birth, netns_id=actual.netns_id))
        admitted = mender.admit(plan_attach(wanted, actual), (*actual.node, *(actual.pod or ())))
        await self._kernel.apply(admitted.operations)
        mender.mended(admitted, pod=attachment.pod, is_inside=True)
        return bool(admitted.operations)

    def _is_missed(self, attachment: Attachment, actual: AttachmentState) -> bool:
        is_there = actual.pod is not None and not is_own_netns(attachment.netns)
        return is_there and not self.homes.has_left(attachment.key)


def lost_links(
    held: Iterable[tuple[AttachmentKey, AttachmentState]], links: Iterable[str]
) -> frozenset[AttachmentKey]:
    """Return the attachments whose host link is not among `links`, of those that have one."""
    there = frozenset(links)
    return frozenset(key for key, one in held if one.node and one.birth.host.name not in there)
