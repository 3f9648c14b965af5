"""Which packets does a person ask about, and what is the kernel itself to be asked of them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.cli.fib import decide
from terway.cli.hops import Ground, Packet
from terway.cli.read_kernel import Question
from terway.cli.read_services import FrontendQuestion
from terway.cli.snapshot import JournalView, Snapshot, require
from terway.cli.target import find_target
from terway.cli.target_service import Target
from terway.datapath.names import host_link_name
from terway.model.address import IPAddress
from terway.model.attachment import Attachment
from terway.model.errors import UsageError

_BUNDLED_SERVICES = 1000


def packets_of(
    snapshot: Snapshot, pod: str, destination: str, protocol: str, families: Iterable[int]
) -> Iterator[tuple[Packet, Target]]:
    """Yield the packets that the question means, one for each family that both ends have.

    Raises UsageError when the pod or the destination is not known, or they share no family.
    """
    sender = find_sender(snapshot, pod)
    target = find_target(snapshot, destination, namespace=_namespace(sender), protocol=protocol)
    found = 0
    for address in target.addresses:
        own = source_of(snapshot, sender, target.service(address) or address)
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
                service=target.service(address),
            ),
            target,
        )
    if not found:
        have = ", ".join(f"IPv{one.version}" for one in sender.lease.addresses)
        text = f"{pod} has {have}; {target.name} has no address of the asked family"
        raise UsageError(text, field="DST")


def frontends_of(
    snapshot: Snapshot, pod: str, destination: str, protocol: str
) -> Iterator[FrontendQuestion]:
    """Yield the addresses and ports that may be a service's, for the data path's maps to be asked.

    That is before its maps were read: what a service leads to is not known yet.
    """
    if protocol == "icmp":
        return
    sender = find_sender(snapshot, pod)
    target = find_target(snapshot, destination, namespace=_namespace(sender), protocol=protocol)
    own = {one.version: one for one in sender.lease.addresses}
    ports = (target.port,) if target.port else target.service_ports
    for address in target.services or target.addresses:
        for port in ports:
            yield FrontendQuestion(
                address=address, port=port, protocol=protocol, source=own.get(address.version)
            )


def every_frontend(snapshot: Snapshot) -> Iterator[FrontendQuestion]:
    """Yield the addresses and ports of the first thousand services: a bundle is asked later."""
    kube = snapshot.kubernetes
    for service in (kube.services if kube is not None else ())[:_BUNDLED_SERVICES]:
        for address in service.cluster_ips:
            for port in service.ports:
                for protocol in ("tcp", "udp"):
                    yield FrontendQuestion(address=address, port=port, protocol=protocol)


def source_of(snapshot: Snapshot, sender: Attachment, destination: IPAddress) -> IPAddress | None:
    """Return the address that a pod sends with: that of the interface by which it would leave.

    While the kernel was not read, its first interface's; None without one of the family.
    """
    chosen = sender
    if snapshot.kernel is not None:
        ground = Ground(snapshot, snapshot.kernel)
        view = ground.view(sender)
        route = decide(view.seen, destination).route if view and view.seen else None
        by_name = {one.key.ifname: one for one in ground.siblings(sender)}
        chosen = by_name.get(route.link, sender) if route else sender
    fitting = (one for one in chosen.lease.addresses if one.version == destination.version)
    return next(fitting, None)


def _namespace(sender: Attachment) -> str:
    return sender.pod.namespace if sender.pod else "default"


def find_sender(snapshot: Snapshot, pod: str) -> Attachment:
    """Return the attachment of a pod of this node.

    Raises UsageError when it is not here, TransientError where there is no journal to know it from.
    """
    journal = require(snapshot.journal, snapshot, "journal")
    namespace, _, name = pod.rpartition("/")
    for one in sorted(journal.attachments, key=lambda one: one.spec.parent):  # parents first
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
    names = sorted({str(one.pod) for one in journal.attachments if one.pod is not None})
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    known = f"there are: {', '.join(names[:8])}{more}" if names else "it has none"
    raise UsageError(f"no pod {pod} on this node; {known}", field="POD")


def questions_of(snapshot: Snapshot, packets: Iterable[Packet]) -> Iterator[Question]:
    """Yield what the kernel itself is to be asked: each packet, and its answer if it ends here.

    By which of its interfaces a pod sends is not known by then: it is asked about all of them.
    """
    journal = snapshot.journal or JournalView()
    holders = {address: one for one in journal.attachments for address in one.lease.addresses}
    for packet in packets:
        for ask in (packet, packet.reply()):
            held = holders.get(ask.source)
            for one in journal.attachments if held is not None else ():
                if held is not None and one.owner == held.owner:
                    yield from _questions(one, ask)


def _questions(sender: Attachment, packet: Packet) -> Iterator[Question]:
    link = host_link_name(sender.key, sender.pod)
    for source in sender.lease.addresses:
        if source.version == packet.destination.version:
            yield Question(destination=packet.destination, source=source, iif=link)
