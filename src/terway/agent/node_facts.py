"""What plans must know of this node: what it has, and what its configuration makes of that."""

from __future__ import annotations

from dataclasses import replace

from terway.agent.terwayd import read_node_facts
from terway.config.agent_config import AgentConfig
from terway.config.cni_conf import CniConf
from terway.datapath.facts import NodeFacts, Symmetric
from terway.datapath.symmetric import symmetric_of
from terway.linux.kernel import Kernel
from terway.model.errors import UsageError


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
