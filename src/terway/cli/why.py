"""terway-cli why: which hop stops a packet from a pod to somewhere?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from terway.cli.collect import ALL, Wanted
from terway.cli.exits import CANNOT_REACH, FOUND, OK
from terway.cli.hops import Hop, Packet, State
from terway.cli.read_kernel import Question
from terway.cli.snapshot import JournalView, Snapshot
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, wrapped
from terway.cli.target import Target, find_target
from terway.cli.walk import walk
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.errors import UsageError

_PROTOCOLS = ("tcp", "udp", "icmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One packet and its hops."""

    packet: Packet
    target: str
    hops: tuple[Hop, ...]

    @property
    def failure(self) -> Hop | None:
        """Return the hop that fails, None when none is known to."""
        return next((one for one in self.hops if one.state is State.FAIL), None)


@click.command("why")
@click.argument("pod", metavar="[NAMESPACE/]POD")
@click.argument("destination", metavar="DST[:PORT]")
@click.option("--proto", type=click.Choice(_PROTOCOLS), default="tcp", show_default=True)
@click.option("--family", type=click.Choice(["4", "6", "both"]), default="both", show_default=True)
@source_options
def command(
    *,
    pod: str,
    destination: str,
    proto: str,
    family: str,
    bundle: str,
    as_json: bool,
    **where: str,
) -> None:
    """Walk one packet from a pod of this node, and name the first hop that fails.

    DST is an address, a pod ([NAMESPACE/]NAME), a node, or a service (svc/[NAMESPACE/]NAME). With
    names, both families are walked. Exit code 1 when a hop fails.
    """
    families = (4, 6) if family == "both" else (int(family),)

    def packets(snapshot: Snapshot) -> Iterator[tuple[Packet, Target]]:
        return packets_of(snapshot, pod, destination, proto, families)

    wanted = Wanted(
        sources=ALL - {"agent"},
        everything_of_kube=True,
        deep_cloud=True,
        look_at=lambda found: [packet.destination for packet, _ in packets(found)],
        questions=lambda found: questions_of(found, [packet for packet, _ in packets(found)]),
    )
    snapshot = take_snapshot(bundle, wanted, **where)
    explained = [explain(snapshot, packet, target) for packet, target in packets(snapshot)]
    if as_json:
        print_json(explained)
    else:
        print_lines(line for one in explained for line in why_lines(one))
    raise SystemExit(FOUND if any(one.failure for one in explained) else _code(explained))


def _code(explained: Iterable[Explained]) -> int:
    known = any(hop.state is State.OK for one in explained for hop in one.hops)
    return OK if known else CANNOT_REACH


def packets_of(
    snapshot: Snapshot, pod: str, destination: str, protocol: str, families: Iterable[int]
) -> Iterator[tuple[Packet, Target]]:
    """Yield the packets that the question means, one for each family that both ends have.

    Raises UsageError when the pod or the destination is not known, or they share no family.
    """
    sender = find_sender(snapshot, pod)
    target = find_target(snapshot, destination, namespace=_namespace(sender))
    found = 0
    for address in target.addresses:
        own = next((one for one in sender.lease.addresses if one.version == address.version), None)
        if own is None or address.version not in families:
            continue
        found += 1
        is_six = protocol == "icmp" and address.version == 6
        yield (
            Packet(
                source=own,
                destination=address,
                protocol="icmpv6" if is_six else protocol,
                port=target.port if protocol != "icmp" else None,
            ),
            target,
        )
    if not found:
        have = ", ".join(f"IPv{one.version}" for one in sender.lease.addresses)
        text = f"{pod} has {have}; {target.name} has no address of the asked family"
        raise UsageError(text, field="DST")


def _namespace(sender: Attachment) -> str:
    return sender.pod.namespace if sender.pod else "default"


def find_sender(snapshot: Snapshot, pod: str) -> Attachment:
    """Return the attachment of a pod of this node. Raises UsageError when it is not here."""
    journal = snapshot.journal or JournalView()
    namespace, _, name = pod.rpartition("/")
    for one in journal.attachments:
        if one.pod is not None and one.pod.name == name and namespace in ("", one.pod.namespace):
            return one
    kube = snapshot.kubernetes
    for other in kube.pods if kube else ():
        if other.name == name and namespace in ("", other.namespace):
            text = f"pod {other} is on {other.node or 'no node yet'}"
            if other.is_host_network:
                text = f"pod {other} has the node's own network"
            here = f"this node, {snapshot.node_name}, has no attachment of it"
            raise UsageError(f"{text}: {here}; run terway-cli there", field="POD")
    reason = snapshot.why_missing("journal") if snapshot.journal is None else ""
    known = ", ".join(sorted(str(one.pod) for one in journal.attachments)[:8]) or "none"
    raise UsageError(f"no pod {pod} on this node {reason}; there are: {known}", field="POD")


def questions_of(snapshot: Snapshot, packets: Iterable[Packet]) -> Iterator[Question]:
    """Yield what the kernel itself is to be asked: each packet, and its answer if it ends here."""
    from terway.datapath.names import host_link_name

    journal = snapshot.journal or JournalView()
    by_address: dict[IPAddress, str] = {
        address: host_link_name(one.key, one.pod)
        for one in journal.attachments
        for address in one.lease.addresses
    }
    for packet in packets:
        for ask in (packet, packet.reply()):
            if ask.source in by_address:
                link = by_address[ask.source]
                yield Question(destination=ask.destination, source=ask.source, iif=link)


def explain(snapshot: Snapshot, packet: Packet, target: Target) -> Explained:
    """Return a packet's hops; for a service, who must translate it comes first."""
    before = target.hops
    if any(one.state is State.FAIL for one in before):
        return Explained(packet=packet, target=target.name, hops=before)
    return Explained(packet=packet, target=target.name, hops=(*before, *walk(snapshot, packet)))


def why_lines(explained: Explained) -> Iterator[str]:
    """Yield a walk: a line a hop, then the reason and the remedy."""
    yield str(explained.packet)
    yield f"  to {explained.target}"
    for hop in explained.hops:
        yield from wrapped(f"{hop.state.value:<4}  {hop.where}: {hop.what}: {hop.text}", indent=2)
    failure = explained.failure
    if failure is None:
        yield "  no hop is known to fail"
    else:
        yield ""
        yield from wrapped(f"it ends at: {failure.where}, {failure.what}", indent=2)
        yield from wrapped(f"mend it:    {failure.remedy}", indent=2)
    yield ""
