"""Which addresses are in a block of a manifest?

As Kubernetes reads them: host bits and leading zeros are tolerated, because objects older than the
stricter validation (KEP-4858) have them, and a policy must not fall for it.
"""

from __future__ import annotations

from ipaddress import ip_network

from terway.model.address import IPNetwork
from terway.policy.policies import BlockPeer
from terway.policy.reading.parse_fields import Table, refusal


def parse_network(text: str, path: str) -> IPNetwork:
    """Return the network, host bits masked. Raises UsageError."""
    address, _, length = text.partition("/")
    try:
        # A netmask behind the slash, and a zone, are Python's additions to what a block is.
        if not length.isascii() or not length.isdigit() or "%" in address:
            raise ValueError(text)
        return ip_network(f"{_without_leading_zeros(address)}/{int(length)}", strict=False)
    except ValueError:
        raise refusal(path, text, "write a block such as 10.0.0.0/8 or fd00::/8") from None


def parse_block(table: Table) -> BlockPeer:
    """Return the peer of an ipBlock. Raises UsageError.

    What an exception has outside of the block is no business of it: exceptions are clipped.
    """
    table.refuse_unknown("cidr", "except")
    block = parse_network(table.text("cidr"), table.at("cidr"))
    excepts = (
        parse_network(text, f"{table.at('except')}[{index}]")
        for index, text in enumerate(table.texts("except"))
    )
    clipped = (_common(block, hole) for hole in excepts)
    return BlockPeer(block=block, excepts=tuple(hole for hole in clipped if hole is not None))


def _common(block: IPNetwork, hole: IPNetwork) -> IPNetwork | None:
    """Return what two blocks have in common: always the smaller one, or nothing."""
    if block.version != hole.version or not block.overlaps(hole):
        return None
    return max(block, hole, key=lambda network: network.prefixlen)


def _without_leading_zeros(address: str) -> str:
    if ":" in address:
        return address
    return ".".join(octet.lstrip("0") or octet[:1] for octet in address.split("."))
