"""What has the node's namespace whatever its pods are? Settings, rules, the way back."""

from __future__ import annotations

from terway.datapath.ebpf import node_programs
from terway.datapath.facts import NodeFacts
from terway.datapath.host import desired_host
from terway.datapath.reach import host_stack_rules
from terway.datapath.symmetric import symmetric_objects
from terway.model.network import NetObject


def desired_node(node: NodeFacts) -> tuple[NetObject, ...]:
    """Return all that the node has whatever its pods are."""
    return (
        *desired_host(node),
        *host_stack_rules(node),
        *symmetric_objects(node),
        *node_programs(node),
    )
