"""Which addresses does a block of a case name in the lab? The same ends, and nobody else's.

Pods cannot choose their address in a VPC, and an address outside cannot be one inside. So a case's
address stands for a real one, and a block must hold the real addresses of exactly those ends whose
addresses in the case it holds:

    the block, without the ranges in which real addresses are, and each real address that it means

A block that says the same of all ends without a change (0.0.0.0/0, most outside ones) is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from terway.model.address import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Addresses: a range without others inside it."""

    cidr: IPNetwork
    excepts: tuple[IPNetwork, ...] = ()

    def __contains__(self, address: IPAddress) -> bool:
        return address in self.cidr and not any(address in hole for hole in self.excepts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What the addresses of a case are in the lab; `ranges` hold all real ones that differ."""

    real: Mapping[IPAddress, IPAddress]
    ranges: tuple[IPNetwork, ...]

    def blocks(self, block: Block) -> tuple[Block, ...]:
        """Return the blocks that say of real addresses what `block` says of the case's."""
        version = block.cidr.version
        ends = {case: real for case, real in self.real.items() if case.version == version}
        if all((case in block) == (real in block) for case, real in ends.items()):
            return (block,)
        meant = {real for case, real in ends.items() if case in block}
        rest = _without(block, [one for one in self.ranges if one.version == version])
        return (*rest, *(Block(cidr=ip_network(real)) for real in sorted(meant)))


def _without(block: Block, ranges: Iterable[IPNetwork]) -> tuple[Block, ...]:
    holes = list(block.excepts)
    for one in ranges:
        if one.supernet_of(block.cidr):  # type: ignore[arg-type]  # one family
            return ()
        if one.subnet_of(block.cidr):  # type: ignore[arg-type]  # one family
            holes.append(one)
    return (Block(cidr=block.cidr, excepts=tuple(dict.fromkeys(holes))),)


def flatten(block: Block) -> Iterator[IPNetwork]:
    """Yield plain ranges that hold together what the block holds."""
    left = [block.cidr]
    for hole in block.excepts:
        left = [part for whole in left for part in _cut(whole, hole)]
    yield from sorted(left)


def _cut(whole: IPNetwork, hole: IPNetwork) -> Iterable[IPNetwork]:
    if hole.supernet_of(whole):  # type: ignore[arg-type]  # one family
        return ()
    if not hole.subnet_of(whole):  # type: ignore[arg-type]  # one family
        return (whole,)
    parts: Iterable[IPNetwork] = whole.address_exclude(hole)  # type: ignore[arg-type]  # as above
    return parts


def make_block(cidr: str, excepts: Iterable[str] = ()) -> Block | None:
    """Return the block that a manifest writes; None when nothing is left of it.

    An exception cuts from its own block only: one that lies outside says nothing. ValueError for
    what is no range.
    """
    network = ip_network(cidr, strict=False)
    holes = [ip_network(text, strict=False) for text in excepts]
    inside = [hole for hole in holes if hole.version == network.version and hole.overlaps(network)]
    if any(hole.supernet_of(network) for hole in inside):  # type: ignore[arg-type]  # one family
        return None
    return Block(cidr=network, excepts=tuple(inside))
