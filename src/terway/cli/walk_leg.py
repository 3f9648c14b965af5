"""How does a pod with an ENI of its own reach what only its node gives? By the second leg.

pod ─ veth1 ─► cali… ─► this node itself, a pod of it, or, with the node's address, elsewhere
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from terway.cli.fib import Decision
from terway.cli.hops import RESTART_AGENT, Ground, Hop, Packet, fail, ok, unknown
from terway.cli.walk_cloud import across
from terway.cli.walk_pod import link_named
from terway.datapath.masquerade import TABLE
from terway.model.address import IPAddress
from terway.model.eni import ENI, ENIType


def with_nodes_address(ground: Ground, packet: Packet, chosen: Decision) -> Iterator[Hop]:
    """Yield how the node sends on, as its own, what a pod gave it by its second leg."""
    if TABLE in ground.kernel.missing_tables:
        text = f"table {TABLE} is missing: the packet would leave with {packet.source}, which the"
        text = f"{text} VPC refuses there, and the answer would not come back by the node"
        yield fail("node", "translation", text, f"{RESTART_AGENT}; see nft list table {TABLE}")
        return
    if chosen.route is None:
        text = f"the node has no way to {packet.destination}: {chosen}"
        yield fail("node", "routing", text, "look at the node's own routes: ip route")
        return
    yield ok("node", "routing", str(chosen))
    eni = _eni_of(ground, chosen.route.link)
    own = _address(ground, chosen.route.link, packet.destination)
    if own is None or eni is None:
        text = f"{chosen.route.link} is not one of the instance's ENIs; what is behind it is not"
        yield unknown("node", "translation", f"{text} looked at")
        return
    yield ok("node", "translation", f"it leaves with the node's address {own}")
    yield from across(ground, replace(packet, source=own), eni.id)


def _eni_of(ground: Ground, name: str) -> ENI | None:
    link = link_named(ground.node, name)
    enis = ground.cloud.enis if ground.cloud is not None else ()
    if link is None:
        return None
    by_mac = next((one for one in enis if one.mac == link.mac), None)
    return by_mac or next((one for one in enis if one.type is ENIType.PRIMARY), None)


def _address(ground: Ground, name: str, like: IPAddress) -> IPAddress | None:
    """Return the address that the node has on a link, in the family of `like`."""
    found = (one.address.ip for one in ground.node.addresses if one.link == name)
    fitting = (one for one in found if one.version == like.version and not one.is_link_local)
    return next(fitting, None)
