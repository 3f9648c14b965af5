"""Where do the packets of a pod pass, that is, where can its policies be enforced?

At the node's end of its link; and, where the pod has an ENI itself, inside the pod as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.datapath.names import host_link_name
from terway.model.address import IPPair
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.interface import Mode
from terway.policy.cluster import PodKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One interface of a pod. `netns` is empty where the node sees all that passes."""

    pod: PodKey
    attachment: AttachmentKey
    addresses: IPPair
    host_link: str
    is_own: bool  # what the runtime asked for; not one beside it
    netns: str = ""

    @property
    def ifname(self) -> str:
        """Return the interface's name inside the pod."""
        return self.attachment.ifname


def seat_of(attachment: Attachment) -> Seat | None:
    """Return where the packets of an attachment pass; None where Kubernetes knows no such pod."""
    ref = attachment.pod
    if ref is None:
        return None
    is_exclusive = attachment.spec.mode is Mode.EXCLUSIVE
    return Seat(
        pod=PodKey(namespace=ref.namespace, name=ref.name),
        attachment=attachment.key,
        addresses=attachment.lease.addresses,
        host_link=host_link_name(attachment.key, ref),
        is_own=not attachment.spec.parent,
        netns=attachment.netns if is_exclusive else "",
    )


class Seats:
    """The seats of this node. Of two sandboxes of a pod, the later one's address is the pod's."""

    def __init__(self) -> None:
        self._by_pod: dict[PodKey, dict[AttachmentKey, Seat]] = {}

    def put(self, seats: Iterable[Seat]) -> None:
        """Take note of interfaces that are there, or about to be."""
        for seat in seats:
            of_pod = self._by_pod.setdefault(seat.pod, {})
            of_pod.pop(seat.attachment, None)
            of_pod[seat.attachment] = seat

    def drop(self, seat: Seat) -> None:
        """Take note that an interface is gone; it is no matter if it never was."""
        of_pod = self._by_pod.get(seat.pod, {})
        of_pod.pop(seat.attachment, None)
        if not of_pod:
            self._by_pod.pop(seat.pod, None)

    def addresses_of(self, pod: PodKey) -> IPPair | None:
        """Return the pod's addresses; None when nothing of it is here."""
        own = [seat for seat in self._by_pod.get(pod, {}).values() if seat.is_own]
        return own[-1].addresses if own else None

    def snapshot(self) -> Mapping[PodKey, tuple[Seat, ...]]:
        """Return all as they are now."""
        return {pod: tuple(seats.values()) for pod, seats in self._by_pod.items()}
