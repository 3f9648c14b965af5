"""What may these rules have been printed from? Guesses: who asks prints again, and compares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import Family, IPAddress
from terway.model.nft import Rule, Table
from terway.model.nft_rule import Decide, Limit, Log, Lookup, OneIn, Reject, Verdict
from terway.policy.nft.names import FORWARD, INPUT, Names, epoch_of
from terway.policy.nft.sides import Lane
from terway.policy.nft.skeleton import FlowLog, Options, Place, RuleChain, rest_of
from terway.policy.nft.words import goto
from terway.policy.policies import Direction

_IPV4_BYTES = 4


def guess_names(place: Place, table: Table) -> Names:
    """Return the names that the chains at the hooks refer to."""
    base = table.chains.get(FORWARD if place is Place.NODE else INPUT)
    lookups = _lookups(() if base is None else base.rules)
    return Names(epoch=max((epoch_of(name) for name in lookups), default=0))


def guess_options(
    deny: Iterable[Rule], log_denied: Iterable[Rule], log_allowed: Iterable[Rule]
) -> Options:
    """Return the options that the common chains have."""
    is_rejecting = any(isinstance(one, Reject) for rule in deny for one in rule)
    return Options(is_rejecting=is_rejecting, flow_log=_guess_flow_log(log_denied, log_allowed))


def guess_rule_set(table: Table, base: str, names: Names) -> RuleChain:
    """Return what the chains of the rule set `base` depend on."""
    rules = rules_of(table, names.of(base))
    lookups = set(_lookups((*rules, *rules_of(table, rest_of(base, names)))))
    nets: dict[Family, str] = {}
    for family in Family:
        prefix = f"{base}_nets{family.value}"
        nets.update((family, name) for name in lookups if name.startswith(prefix))
    known = Lookup(names.everybody(Family.V4))
    everybody = next((decision(rule) for rule in rules if known in rule), None)
    default = decision(rules[-1]) if rules else None
    return RuleChain(
        name=base,
        direction=Direction.EGRESS if base.startswith("egress") else Direction.INGRESS,
        default=default or goto(names.of("deny")),
        nets=nets,
        everybody=everybody,
    )


def guess_lane(table: Table, chain: str, interface: str) -> Lane:
    """Return what a pod's own chain depends on."""
    found = [decision(rule) for rule in rules_of(table, chain)]
    last = found[-1] if found else None
    itself = found[0] if len(found) > 1 else None
    return Lane(interface=interface, rule_set="" if last is None else last.chain, itself=itself)


def rules_of(table: Table, name: str) -> tuple[Rule, ...]:
    """Return the rules of a chain, none where it is missing."""
    chain = table.chains.get(name)
    return () if chain is None else chain.rules


def decision(rule: Rule) -> Verdict | None:
    """Return the verdict that a rule ends in."""
    last = rule[-1] if rule else None
    return last.verdict if isinstance(last, Decide) else None


def address_of(key: bytes) -> IPAddress:
    """Return the address that a key is."""
    return IPv4Address(key) if len(key) == _IPV4_BYTES else IPv6Address(key)


def _lookups(rules: Iterable[Rule]) -> Iterator[str]:
    return (one.set for rule in rules for one in rule if isinstance(one, Lookup))


def _guess_flow_log(denied: Iterable[Rule], allowed: Iterable[Rule]) -> FlowLog | None:
    found = [one for rule in denied for one in rule]
    log = next((one for one in found if isinstance(one, Log)), None)
    limit = next((one for one in found if isinstance(one, Limit)), None)
    sampled = [one for rule in allowed for one in rule]
    chance = next((one.modulus for one in sampled if isinstance(one, OneIn)), min(len(sampled), 1))
    if log is None or limit is None:
        return None
    return FlowLog(
        group=log.group,
        rate_per_s=limit.rate_per_s,
        one_in=chance,
        snaplen_bytes=log.snaplen_bytes,
    )
