"""What does the kernel have, on the node and in its pods, and what of it differs from plan?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from terway.cli.snapshot import JournalView, KernelView, PodView
from terway.config.agent_config import AgentConfig
from terway.datapath.diff import diff
from terway.datapath.facts import DEFAULT_MTU_BYTES, ENILink, NodeFacts
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.names import host_link_name
from terway.datapath.plan import plan_attach
from terway.datapath.verify import verify, verify_objects
from terway.datapath.veth import desired_attachment
from terway.linux import read
from terway.linux.guard import read_drops
from terway.linux.inspect import Lookup, Seen, look_up, read_seen
from terway.linux.session import Session, open_session
from terway.linux.uplink import read_uplink
from terway.model.address import Family, IPAddress, IPPair
from terway.model.attachment import Attachment
from terway.model.errors import ConflictError, UsageError, VpcError
from terway.model.ids import MacAddress
from terway.model.interface import Mode
from terway.model.network import NODE, AttachmentState, Netns, NetObject, Sysctl

_NODE_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A packet about which the kernel itself is to be asked; `iif` empty: the node's own."""

    destination: IPAddress
    source: IPAddress | None = None
    iif: str = ""


def read_kernel(
    journal: JournalView, config: AgentConfig | None, questions: Iterable[Question] = ()
) -> KernelView:
    """Return the kernel's state. Blocking. Raises UsageError without the privileges."""
    with open_session() as session:
        names = [one.name for one in read.read_links(session)]
        node = read_seen(session, sysctls=tuple(_sysctls(names)), with_filters=True)
        facts = _facts(config, node)
        enis = {one.mac: one for one in _eni_links(journal, node)}
        wanted = tuple(_wanted(enis.values(), facts))
        actual = read.read_node((one for one in wanted if isinstance(one, Sysctl)), session)
        changes = diff(wanted, actual.objects, netns=NODE, is_owned=lambda _: False)
        return KernelView(
            node=node,
            pods=tuple(_pod(session, one, enis, facts) for one in journal.attachments),
            differences=tuple(map(str, verify_objects(wanted, actual.objects))),
            repairs=changes.puts,
            lookups=tuple(_ask(session, one) for one in questions),
        )


def _sysctls(links: Iterable[str]) -> Iterator[str]:
    yield from _NODE_SYSCTLS
    for name in links:
        yield f"net/ipv4/conf/{name}/forwarding"
        yield f"net/ipv4/conf/{name}/rp_filter"
        yield f"net/ipv6/conf/{name}/forwarding"


def _ask(session: Session, question: Question) -> Lookup:
    return look_up(session, question.destination, source=question.source, iif=question.iif)


def _facts(config: AgentConfig | None, node: Seen) -> NodeFacts | None:
    uplinks = {family: read_uplink(family) for family in Family}
    first = uplinks[Family.V4] or uplinks[Family.V6]
    if config is None or first is None:
        return None
    own = {family: one.address for family, one in uplinks.items() if one is not None}
    v4, v6 = own.get(Family.V4), own.get(Family.V6)
    mtus = {one.name: one.mtu_bytes for one in node.links}
    return NodeFacts(
        addresses=IPPair(
            v4=v4 if isinstance(v4, IPv4Address) else None,
            v6=v6 if isinstance(v6, IPv6Address) else None,
        ),
        uplink=first.link,
        families=config.eni.ip_stack.families,
        mtu_bytes=config.cni.mtu_bytes or mtus.get(first.link, DEFAULT_MTU_BYTES),
    )


def _eni_links(journal: JournalView, node: Seen) -> Iterator[ENILink]:
    vswitches = {one.id: one for one in journal.vswitches}
    for eni in journal.enis:
        link = next((x for x in node.links if x.mac == eni.mac and x.kind in ("", "veth")), None)
        vswitch = vswitches.get(eni.vswitch_id)
        if link is None or vswitch is None:
            continue
        v6 = None if vswitch.ipv6_cidr is None else vswitch.ipv6_cidr[-3]
        gateways = IPPair(v4=vswitch.cidr[-3], v6=v6)
        yield ENILink(name=link.name, ifindex=link.ifindex, mac=eni.mac, gateways=gateways)


def _wanted(enis: Iterable[ENILink], facts: NodeFacts | None) -> Iterator[NetObject]:
    if facts is None:
        return
    yield from desired_host(facts)
    for eni in enis:
        yield from desired_eni(eni, facts)


def _pod(
    session: Session,
    attachment: Attachment,
    enis: Mapping[MacAddress, ENILink],
    facts: NodeFacts | None,
) -> PodView:
    host = host_link_name(attachment.key, attachment.pod)
    view = PodView(
        key=attachment.key,
        host_link=host,
        seen=_seen(session, attachment.netns),
        guard_drops=_guard_drops(session, host),
    )
    eni = enis.get(attachment.lease.eni_mac)
    if attachment.spec.mode is not Mode.VETH or facts is None:
        return view
    if eni is None:
        text = f"no link has the MAC of ENI {attachment.lease.eni_id}"
        return replace(view, differences=(f"{text} ({attachment.lease.eni_mac})",))
    return _compared(session, view, desired_attachment(attachment, eni=eni, node=facts))


def _guard_drops(session: Session, link: str) -> tuple[str, ...] | None:
    try:
        drops = read_drops(session.namespace(NODE).sock, link)
    except (VpcError, OSError):
        return None  # no eBPF here, or not ours to read
    if drops is None:
        return None
    return tuple(f"{count} for {why.meaning}" for why, count in drops.items() if count and why)


def _seen(session: Session, netns: str) -> Seen | None:
    try:
        return read_seen(session, Netns(netns))
    except (ConflictError, UsageError):
        return None


def _compared(session: Session, view: PodView, desired: AttachmentState) -> PodView:
    """Return the view with what differs; repairs only where the veth is whole, as terwayd does."""
    try:
        actual = read.read_attachment(desired, session)
        found = tuple(map(str, verify(desired, actual)))
        repairs = plan_attach(desired, actual) if found and actual.is_paired else ()
    except VpcError as error:
        return replace(view, differences=(str(error),))
    return replace(view, differences=found, repairs=repairs)
