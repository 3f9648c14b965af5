"""What does terwayd plan with on this node? Its mode, its facts, its ENIs, told the same way.

Two agents that plan with different facts would call each other's work wrong; so does a tool.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.cli.snapshot import JournalView
from terway.config.agent_config import AgentConfig
from terway.config.choices import BandwidthMode
from terway.config.exclusive_conf import host_stack_cidrs
from terway.datapath.facts import DEFAULT_MTU_BYTES, ENILink, NodeFacts
from terway.datapath.masquerade import TABLE
from terway.datapath.symmetric import symmetric_of, symmetric_tables
from terway.linux.inspect import Seen
from terway.linux.limit_support import read_limit_support
from terway.linux.uplink import read_uplink
from terway.model.address import Family, IPAddress, IPPair
from terway.model.ids import MacAddress
from terway.model.interface import Mode
from terway.model.network import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What plans need: of the node, and of how its pods come to their ENIs."""

    mode: Mode
    facts: NodeFacts
    has_host_peer: bool
    has_legs: bool  # whether pods have second legs, and so what the node forwards is translated

    def tables(self, *, translates: bool) -> tuple[str, ...]:
        """Return the tables of nftables that terwayd keeps here.

        Those that mark connections may wait until something on the node `translates` destinations.
        """
        own = (TABLE,) if self.has_legs else ()
        how = self.facts.symmetric
        waits = how is not None and how.waits and not translates
        return own if waits else (*own, *symmetric_tables(self.facts))


def read_ground(
    journal: JournalView, config: AgentConfig | None, node: Seen, *, leads_services: bool = False
) -> Ground | None:
    """Return what terwayd plans with, None without a configuration or a way out.

    `leads_services`: the data path's own programs do. What its programs and maps are to be is not
    planned here: tools compare those with each other (`checks_ebpf`).
    """
    uplinks = [one for family in Family if (one := read_uplink(family)) is not None]
    if config is None or not uplinks:
        return None
    mode = Mode.EXCLUSIVE if journal.is_exclusive else Mode.VETH
    mtus = {one.name: one.mtu_bytes for one in node.links}
    said = config.cni.host_stack_cidrs or ()
    link, support = uplinks[0].link, read_limit_support()  # terwayd asks the kernel, too
    facts = NodeFacts(
        addresses=_pair(one.address for one in uplinks),
        uplink=link,
        families=config.eni.ip_stack.families,
        mtu_bytes=config.cni.mtu_bytes or mtus.get(link, DEFAULT_MTU_BYTES),
        service_cidrs=config.eni.service_cidr.networks,
        host_stack_cidrs=host_stack_cidrs(config.cni) if mode is Mode.EXCLUSIVE else said,
        gateways=_pair(one.gateway for one in uplinks),
        symmetric=symmetric_of(
            config.cni.symmetric_routing, uplink=link, chained=config.cni.chained
        ),
        has_priorities=config.cni.has_network_priority,
        has_pacing=config.cni.bandwidth_mode is BandwidthMode.EDT and not support.pacing_lacks,
        has_shared_limits=not support.sharing_lacks,
        has_services=leads_services,
        has_children=any(one.spec.mode is Mode.IPVLAN for one in journal.attachments),
    )
    devices = any(one.spec.mode is Mode.EXCLUSIVE for one in journal.attachments)
    return Ground(
        mode=mode,
        facts=facts,
        has_host_peer=config.cni.has_host_peer or mode is not Mode.EXCLUSIVE,
        has_legs=mode is Mode.EXCLUSIVE or devices,
    )


def _pair(addresses: Iterator[IPAddress | None]) -> IPPair:
    found = tuple(addresses)
    return IPPair(
        v4=next((one for one in found if isinstance(one, IPv4Address)), None),
        v6=next((one for one in found if isinstance(one, IPv6Address)), None),
    )


def eni_links(journal: JournalView, node: Seen) -> Iterator[ENILink]:
    """Yield the pool's ENIs whose links are on the node."""
    gateways = dict(eni_gateways(journal))
    for eni in journal.enis:
        link = next((one for one in node.links if one.mac == eni.mac and _is_device(one)), None)
        if link is None or eni.mac not in gateways:
            continue
        yield ENILink(name=link.name, ifindex=link.ifindex, mac=eni.mac, gateways=gateways[eni.mac])


def _is_device(link: Link) -> bool:
    return link.kind in ("", "veth")  # a bridge or VLAN above it may have its MAC


def eni_gateways(journal: JournalView) -> Iterator[tuple[MacAddress, IPPair]]:
    """Yield the gateways of each ENI of the pool, by its MAC."""
    vswitches = {one.id: one for one in journal.vswitches}
    for eni in journal.enis:
        vswitch = vswitches.get(eni.vswitch_id)
        if vswitch is not None:
            v6 = None if vswitch.ipv6_cidr is None else vswitch.ipv6_cidr[-3]
            yield eni.mac, IPPair(v4=vswitch.cidr[-3], v6=v6)
