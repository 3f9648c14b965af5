"""Whose packets do the security groups of an NLB let in, at one listener?

Rules of all groups count together: the lowest priority decides, and of equal ones that which keeps
out. NLB's own group, which nobody can change, lets in everybody with priority 100: so groups that
keep nobody out change nothing. What a listener answers is never looked at.
Source: product documentation, "Add an NLB instance to a security group".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import collapse_addresses, ip_network

from terway.lab.cloud.balancer_records import NlbRecord
from terway.lab.cloud.records import RuleRecord
from terway.lab.cloud.state import State
from terway.lab.vpc.state import Direction
from terway.model.address import IPNetwork

_EVERYBODY: dict[int, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
_ALL_PORTS = "-1/-1"


def admitted_sources(
    state: State, nlb: NlbRecord, *, protocol: str, port: int, version: int
) -> tuple[IPNetwork, ...] | None:
    """Return the ranges that are let in; None: all. `protocol` is "TCP" or "UDP"."""
    rules = sorted(
        (one for one in _rules(state, nlb) if _is_about(one, protocol, port)),
        key=lambda one: (one.priority, one.accept),
    )
    let_in: list[IPNetwork] = []
    open_yet: list[IPNetwork] = [_EVERYBODY[version]]
    for rule in rules:
        for source in _sources(state, rule, version):
            found, open_yet = _cut(open_yet, source)
            let_in += found if rule.accept else ()
    ranges = tuple(_collapsed((*let_in, *open_yet)))
    return None if ranges == (_EVERYBODY[version],) else ranges


def _rules(state: State, nlb: NlbRecord) -> Iterator[RuleRecord]:
    for group_id in nlb.security_group_ids:
        for rule in state.groups[group_id].rules:
            if rule.direction is Direction.INGRESS:
                yield rule


def _is_about(rule: RuleRecord, protocol: str, port: int) -> bool:
    if rule.protocol not in ("ALL", protocol):
        return False
    low, _, high = rule.port_range.partition("/")
    return rule.port_range == _ALL_PORTS or int(low) <= port <= int(high)


def _sources(state: State, rule: RuleRecord, version: int) -> Iterator[IPNetwork]:
    """Yield whom a rule is about: a range, or the addresses of a group's members."""
    if not isinstance(rule.peer, str):
        yield from (rule.peer,) if rule.peer.version == version else ()
        return
    for eni in state.enis.values():
        if rule.peer in eni.security_group_ids:
            held = eni.ipv4 if version == 4 else eni.ipv6
            yield from (ip_network(one) for one in held)


def _cut(pieces: Sequence[IPNetwork], source: IPNetwork) -> tuple[list[IPNetwork], list[IPNetwork]]:
    """Return which parts of `pieces` are in `source`, and which are not."""
    inside: list[IPNetwork] = []
    outside: list[IPNetwork] = []
    for piece in pieces:
        if not piece.overlaps(source):
            outside.append(piece)
        elif piece.subnet_of(source):  # type: ignore[arg-type]  # of one version
            inside.append(piece)
        else:
            inside.append(source)
            outside += piece.address_exclude(source)  # type: ignore[arg-type]
    return inside, outside


def _collapsed(ranges: Iterable[IPNetwork]) -> Iterator[IPNetwork]:
    return collapse_addresses(ranges)  # type: ignore[type-var]  # of one version
