"""What plans must know of this node: what it has, and what its configuration makes of that."""

from __future__ import annotations

from dataclasses import replace

from terway.agent.terwayd import read_node_facts
from terway.config.agent_config import AgentConfig
from terway.config.cni_conf import CniConf
from terway.datapath.facts import NodeFacts, Symmetric
from terway.linux.kernel import Kernel
from terway.model.errors import UsageError

# Translates the first packet of a hostPort; whoever else does is found when it has begun.
_PORT_MAPPER = "portmap"


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
    how = cni.symmetric_routing
    if how is None:
        return None
    interface = how.interface or facts.uplink
    if interface != facts.uplink:
        field = "symmetric_routing_config.interface"
        text = f"{field} is {interface!r}: the node's default route is by {facts.uplink}"
        raise UsageError(f"{text}; name that, or leave the key out", field=field)
    return Symmetric(
        interface=interface,
        mark=how.mark,
        mask=how.mask,
        table=how.table_id,
        priority=how.rule_priority,
        comment=how.comment,
        waits=_PORT_MAPPER not in cni.chained,
    )
