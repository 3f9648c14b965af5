"""Which numbers does the kernel have for what is ours? So that a notification can be understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from terway.datapath.facts import ENILink
from terway.datapath.names import host_child_name
from terway.model.attachment import AttachmentKey
from terway.model.network import AttachmentState, CreateVeth, Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Links by their number, and pods by the number of their namespace, at the last look.

    `links` has the attachment that a link belongs to, None for an ENI's and its host child.
    """

    links: Mapping[int, tuple[Link, AttachmentKey | None]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    pods: Mapping[int, AttachmentKey] = field(default_factory=lambda: MappingProxyType({}))

    def with_pod(self, key: AttachmentKey, link: Link) -> Ground:
        """Return the ground with the host link of a pod, which was made since the look."""
        pods = {} if link.peer_nsid is None else {link.peer_nsid: key}
        return replace(
            self, links={**self.links, link.ifindex: (link, key)}, pods={**self.pods, **pods}
        )


def ground_of(
    held: Iterable[tuple[AttachmentKey, AttachmentState]],
    enis: Iterable[ENILink],
    links: Iterable[Link],
) -> Ground:
    """Return what is ours among `links`."""
    pairs = ((key, state.birth) for key, state in held)
    owners = {birth.host.name: key for key, birth in pairs if isinstance(birth, CreateVeth)}
    numbers = {eni.ifindex for eni in enis}
    children = {host_child_name(number) for number in numbers}
    known: dict[int, tuple[Link, AttachmentKey | None]] = {}
    pods: dict[int, AttachmentKey] = {}
    for link in links:
        owner = owners.get(link.name)
        if owner is not None:
            known[link.ifindex] = (link, owner)
            if link.peer_nsid is not None:
                pods[link.peer_nsid] = owner
        elif link.ifindex in numbers or link.name in children:
            known[link.ifindex] = (link, None)
    return Ground(links=known, pods=pods)
