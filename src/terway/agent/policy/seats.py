"""Where do the packets of a pod pass, that is, where can its policies be enforced?

At the node's end of its link; and, where the pod has an ENI itself, inside the pod as well.

What runs on of a pod whose name is another pod's by now is known by a name that no pod can have:
nobody knows what policies say of it, and so it is shut until its DEL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from terway.datapath.names import host_link_name
from terway.model.address import IPPair
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.interface import Mode
from terway.policy.cluster import PodKey

_ELSE = "~"  # in no pod's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One interface of a pod. `netns` is empty where the node sees all that passes.

    `uid` is the pod's, empty where it is not known.
    """

    pod: PodKey
    attachment: AttachmentKey
    addresses: IPPair
    host_link: str
    is_own: bool  # what the runtime asked for; not one beside it
    netns: str = ""
    uid: str = ""

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
        uid=ref.uid,
    )


def is_of_another(pod: PodKey) -> bool:
    """Return whether a name is one that we made for what runs on of a pod that is no more."""
    return _ELSE in pod.name


class Seats:
    """The seats of this node. Of two sandboxes of a pod, the later one's address is the pod's."""

    def __init__(self) -> None:
        self._by_pod: dict[PodKey, dict[AttachmentKey, Seat]] = {}
        self._others: set[AttachmentKey] = set()  # of pods that the API has no more by that name

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
        self._others.discard(seat.attachment)
        if not of_pod:
            self._by_pod.pop(seat.pod, None)

    def tell_apart(self, pod: PodKey, is_other: Callable[[Seat], bool]) -> None:
        """Take note which seats under a pod's name are not that pod's."""
        seats = self._by_pod.get(pod, {})
        self._others -= seats.keys()
        self._others |= {key for key, seat in seats.items() if is_other(seat)}

    def held(self, pod: PodKey) -> Mapping[PodKey, IPPair]:
        """Return the addresses of what is here under a pod's name: its own, and of others."""
        own = (seat for seat in self._by_pod.get(pod, {}).values() if seat.is_own)
        return {self._name(seat): seat.addresses for seat in own}

    def snapshot(self) -> Mapping[PodKey, tuple[Seat, ...]]:
        """Return all as they are now."""
        found: dict[PodKey, list[Seat]] = {}
        for seats in self._by_pod.values():
            for seat in seats.values():
                found.setdefault(self._name(seat), []).append(seat)
        return {pod: tuple(of_pod) for pod, of_pod in found.items()}

    def _name(self, seat: Seat) -> PodKey:
        if seat.attachment not in self._others:
            return seat.pod
        return replace(seat.pod, name=f"{seat.pod.name}{_ELSE}{seat.uid}")
