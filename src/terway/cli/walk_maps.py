"""Do the data path's own maps say of a packet what the policies say? They are what programs ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from terway.cli.hops import RESTART_AGENT, Hop, Packet, State, fail, ok
from terway.cli.snapshot import Snapshot
from terway.cli.snapshot_ebpf import DataPathView
from terway.cli.walk_pod import pod_name
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.endpoint import endpoint_number
from terway.model.policy_maps import Content
from terway.policy.bpf.judge import Judge, Question
from terway.policy.cluster import Protocol

_WHERE = "data path"
_VERIFY = f"terway-cli policy verify; {RESTART_AGENT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """A pod of this node at one end, and what the maps say there."""

    address: IPAddress
    words: str
    is_allowed: bool


def with_maps(
    hops: Iterator[Hop], snapshot: Snapshot, content: Content | None, packet: Packet, port: int
) -> Iterator[Hop]:
    """Yield what policies say, then what the maps say, where they judge this node's pods.

    `port` is the destination's, 0 without ports. Of an end on another node these maps say nothing:
    what policies deny there is not held against them.
    """
    sides = tuple(_sides(snapshot, content, packet, port))
    for hop in hops:
        passed = [one for one in sides if one.is_allowed and one.address in hop.denied_at]
        if passed:
            text = f"{hop.text}; but the maps of the data path let it pass at {_all(passed)}"
            yield replace(hop, text=f"{text}: {_VERIFY}")
        else:
            yield hop
        if hop.state is State.OK and sides:
            yield _agreed(sides)


def _agreed(sides: Iterable[_Side]) -> Hop:
    """Return the hop of the maps, where the policies allow the packet."""
    denied = [one for one in sides if not one.is_allowed]
    if denied:
        text = f"the maps deny it at {_all(denied)}, which is not what policies say"
        return fail(_WHERE, "policies", text, _VERIFY)
    return ok(_WHERE, "policies", f"the maps allow it at {_all(sides)}")


def _all(sides: Iterable[_Side]) -> str:
    return " and ".join(one.words for one in sides)


def _sides(
    snapshot: Snapshot, content: Content | None, packet: Packet, port: int
) -> Iterator[_Side]:
    """Yield the ends that are pods of this node, whose packets the maps judge."""
    ebpf = snapshot.ebpf
    if content is None or ebpf is None or not ebpf.does_policy:
        return
    judge = Judge(content)
    journal = snapshot.journal
    attachments = journal.attachments if journal is not None else ()
    ends = ((packet.source, packet.destination, True), (packet.destination, packet.source, False))
    for own, other, is_opener in ends:
        held = next((one for one in attachments if own in tuple(one.lease.addresses)), None)
        if held is None:
            continue
        asked = _question(ebpf, held, other, packet, port, is_opener=is_opener)
        way = "egress" if is_opener else "ingress"
        words = f"{way} of pod {pod_name(held)}"
        yield _Side(address=own, words=words, is_allowed=judge.allows(asked))


def _question(
    ebpf: DataPathView,
    held: Attachment,
    other: IPAddress,
    packet: Packet,
    port: int,
    *,
    is_opener: bool,
) -> Question:
    local = ebpf.local(other)
    names = {one.value.lower(): one for one in Protocol}
    return Question(
        endpoint=endpoint_number(held.key),
        other=other,
        protocol=names.get(packet.protocol, Protocol.OTHER),
        port=port,
        is_opener=is_opener,
        is_own_node=local is not None and local.endpoint is None,
        is_itself=packet.source == packet.destination,
    )
