"""What plans must know of this node: what it has, and what its configuration makes of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from terway.config.agent_config import AgentConfig
from terway.config.cni_conf import CniConf
from terway.datapath.facts import NodeFacts, Symmetric
from terway.datapath.symmetric import symmetric_of
from terway.linux.kernel import Kernel
from terway.model.address import Family, IPAddress, IPPair
from terway.model.errors import TransientError, UsageError


async def configured_facts(kernel: Kernel, config: AgentConfig) -> NodeFacts:
    """Return the node's facts. Raises TransientError without a default route, UsageError."""
    families = config.eni.ip_stack.families
    facts = await read_node_facts(kernel, families, mtu_bytes=config.cni.mtu_bytes or 0)
    facts = replace(
        facts,
        service_cidrs=config.eni.service_cidr.networks,
        host_stack_cidrs=config.cni.host_stack_cidrs or (),
        has_priorities=config.cni.has_network_priority,
        symmetric=_symmetric(config.cni, facts),
    )
    if config.cni.mtu_bytes is not None:
        return facts
    # auto_mtu: pods have what the node itself has.
    mtu_bytes = next(one.mtu_bytes for one in await kernel.links() if one.name == facts.uplink)
    return replace(facts, mtu_bytes=mtu_bytes)


def _symmetric(cni: CniConf, facts: NodeFacts) -> Symmetric | None:
    """Return how answers go back; by what link the node is reached is known only here."""
    how = symmetric_of(cni.symmetric_routing, uplink=facts.uplink, chained=cni.chained)
    if how is not None and how.interface != facts.uplink:
        field = "symmetric_routing_config.interface"
        text = f"{field} is {how.interface!r}: the node's default route is by {facts.uplink}"
        raise UsageError(f"{text}; name that, or leave the key out", field=field)
    return how


async def read_node_facts(
    kernel: Kernel, families: tuple[Family, ...], *, mtu_bytes: int
) -> NodeFacts:
    """Return what plans must know of this node.

    Raises TransientError without a default route: the node's own network is not up yet.
    """
    uplinks = [uplink for family in Family if (uplink := await kernel.uplink(family)) is not None]
    if not uplinks:
        raise TransientError("the node has no default route in any family", code="NoRoute")
    return NodeFacts(
        addresses=_pair(uplink.address for uplink in uplinks),
        uplink=uplinks[0].link,
        gateways=_pair(uplink.gateway for uplink in uplinks),
        families=families,
        mtu_bytes=mtu_bytes,
    )


def _pair(addresses: Iterable[IPAddress | None]) -> IPPair:
    found = tuple(addresses)
    return IPPair(
        v4=next((one for one in found if isinstance(one, IPv4Address)), None),
        v6=next((one for one in found if isinstance(one, IPv6Address)), None),
    )
