"""What do pods reach by the node's own stack, and what not? Rules ahead of those to the ENIs.

    1024  from a pod to the metadata service, where the pod may not    prohibit (ICMP says so)
    1280  to a range of host_stack_cidrs                               lookup main

Ranges of the host stack matter where the node has a way of its own to them (a tunnel, a bridge):
an address of the node itself is found in the local table before any rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from terway.datapath.facts import NodeFacts
from terway.model.address import Family, IPAddress, IPNetwork, family_of
from terway.model.attachment import Attachment
from terway.model.network import MAIN_TABLE, RoutingRule

METADATA_PRIORITY = 1024
HOST_STACK_PRIORITY = 1280

# Whoever reaches it has the instance's role. Source: help page "Instance metadata".
METADATA: IPNetwork = ip_network("100.100.100.200/32")


def metadata_rules(attachment: Attachment) -> Iterator[RoutingRule]:
    """Yield the rule that keeps a pod from the metadata service, where it may not go there."""
    if attachment.spec.has_metadata:
        return
    for address in attachment.lease.addresses:
        if family_of(address) is Family.V4:
            yield _no_metadata(address)


def _no_metadata(address: IPAddress) -> RoutingRule:
    return RoutingRule(
        family=Family.V4,
        priority=METADATA_PRIORITY,
        table=0,
        source=ip_network(address),
        destination=METADATA,
        is_prohibit=True,
    )


def host_stack_rules(node: NodeFacts) -> Iterator[RoutingRule]:
    """Yield the rules that leave ranges to the node's own main table."""
    for network in node.host_stack_cidrs:
        if family_of(network) in node.families:
            yield RoutingRule(
                family=family_of(network),
                priority=HOST_STACK_PRIORITY,
                table=MAIN_TABLE,
                destination=network,
            )


def is_metadata_rule(rule: RoutingRule) -> bool:
    """Return whether a rule keeps some pod from the metadata service."""
    return rule.is_prohibit and rule.priority == METADATA_PRIORITY and rule.destination == METADATA


def is_host_stack_rule(rule: RoutingRule) -> bool:
    """Return whether a rule leaves some range to the node's main table."""
    plain = not (rule.iif or rule.oif or rule.fwmark or rule.source)
    return plain and rule.priority == HOST_STACK_PRIORITY and rule.table == MAIN_TABLE
