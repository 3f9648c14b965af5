"""What does the kernel have, on the node and in its pods, and what of it differs from plan?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from terway.cli.read_facts import Ground, eni_gateways, eni_links, read_ground
from terway.cli.read_pods import ENIs, read_pod
from terway.cli.snapshot import GuardLoss, JournalView, KernelView
from terway.config.agent_config import AgentConfig
from terway.datapath.diff import diff
from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni
from terway.datapath.node import desired_node
from terway.datapath.verify import verify_objects
from terway.linux import nftables, read
from terway.linux.inspect import Lookup, look_up, read_seen
from terway.linux.session import Session, open_session
from terway.linux.translation import translates_destinations
from terway.linux.trunk import read_losses
from terway.model.address import IPAddress
from terway.model.errors import TransientError, UsageError
from terway.model.ids import MacAddress
from terway.model.interface import Mode
from terway.model.network import NODE, NetObject, Sysctl

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
    journal: JournalView,
    config: AgentConfig | None,
    questions: Iterable[Question] = (),
    *,
    leads_services: bool = False,
) -> KernelView:
    """Return the kernel's state. Blocking. Raises UsageError without the privileges."""
    with open_session() as session:
        names = [one.name for one in read.read_links(session)]
        node = read_seen(session, sysctls=tuple(_sysctls(names)), with_filters=True)
        ground = read_ground(journal, config, node, leads_services=leads_services)
        links = {one.mac: one for one in eni_links(journal, node)}
        enis = ENIs(links=links, gateways=dict(eni_gateways(journal)))
        wanted = tuple(_wanted(links.values(), ground))
        actual = read.read_node((one for one in wanted if isinstance(one, Sysctl)), session)
        changes = diff(wanted, actual.objects, netns=NODE, is_owned=lambda _: False)
        translates = translates_destinations()
        return KernelView(
            node=node,
            pods=tuple(read_pod(session, one, enis, ground) for one in journal.attachments),
            differences=tuple(map(str, verify_objects(wanted, actual.objects))),
            repairs=changes.puts,
            lookups=tuple(_ask(session, one) for one in questions),
            translates=translates,
            trunk_losses=tuple(_trunk_losses(session, journal, links)),
            missing_tables=tuple(_missing_tables(ground, translates=translates)),
        )


def _trunk_losses(
    session: Session, journal: JournalView, links: Mapping[MacAddress, ENILink]
) -> Iterator[GuardLoss]:
    """Yield what trunks that pods are members of have lost."""
    owns = (one.spec.own_eni for one in journal.attachments)
    macs = {own.trunk_mac for own in owns if own is not None and own.trunk_mac is not None}
    for mac in macs & links.keys():
        lost = read_losses(session.namespace(NODE).sock, links[mac].name) or {}
        for why, count in lost.items():
            yield GuardLoss(reason=why.name.lower(), meaning=why.meaning, packets=count)


def _sysctls(links: Iterable[str]) -> Iterator[str]:
    yield from _NODE_SYSCTLS
    for name in links:
        yield f"net/ipv4/conf/{name}/forwarding"
        yield f"net/ipv4/conf/{name}/rp_filter"
        yield f"net/ipv6/conf/{name}/forwarding"


def _ask(session: Session, question: Question) -> Lookup:
    return look_up(session, question.destination, source=question.source, iif=question.iif)


def _wanted(enis: Iterable[ENILink], ground: Ground | None) -> Iterator[NetObject]:
    """Yield what the node's own namespace should have, pods apart."""
    if ground is None:
        return
    yield from desired_node(ground.facts)
    if ground.mode is Mode.EXCLUSIVE:
        return  # an ENI that is on the node is down, and waits for a pod
    for eni in enis:
        yield from desired_eni(eni, ground.facts)


def _missing_tables(ground: Ground | None, *, translates: bool) -> Iterator[str]:
    """Yield the tables of nftables that should be there, and are not. Blocking."""
    wanted = () if ground is None else ground.tables(translates=translates)
    if not wanted:
        return
    try:
        there = {line.removeprefix("table ") for line in nftables.run("list tables").splitlines()}
    except (TransientError, UsageError):
        there = set()  # a kernel or a node without nftables has none of them
    yield from (one for one in wanted if one not in there)
