"""The rules of the policy table: which there are, whatever is in its maps.

The chains at the hooks find the rule sets of a packet's pod by the name of its interface. A rule
set's chain finds what the other end may by its address, and what it finds either returns to the
hook, where the other pod's side is asked next, or denies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from terway.model.address import Family
from terway.model.nft import (
    FLAG_CONCAT,
    FLAG_CONSTANT,
    FLAG_INTERVAL,
    FLAG_MAP,
    BaseChain,
    Chain,
    Hook,
    KeyType,
    Rule,
    SetShape,
)
from terway.model.nft_rule import (
    ACCEPT,
    ADMIN_PROHIBITED,
    DROP,
    Cmp,
    CmpOp,
    Limit,
    Log,
    Meta,
    MetaKey,
    OneIn,
    Reject,
    RejectKind,
    Verdict,
)
from terway.policy.cluster import Protocol
from terway.policy.nft.names import FORWARD, INPUT, OUTPUT, Names
from terway.policy.nft.words import (
    ADDRESS_TYPE,
    PROTOCOL_NUMBERS,
    STATE_INVALID,
    STATE_NEW,
    STATE_RELATED,
    End,
    address,
    by_map,
    goto,
    has_state,
    in_set,
    is_neighbour_talk,
    is_protocol,
    is_reply,
    is_stray_tcp,
    jump,
    then,
)
from terway.policy.policies import Direction

INTERFACES = SetShape(key=(KeyType.IFNAME,), flags=FLAG_MAP)
INTERFACE_PAIRS = SetShape(key=(KeyType.IFNAME, KeyType.IFNAME), flags=FLAG_CONCAT)
HOST_MAPS = {one: SetShape(key=(ADDRESS_TYPE[one],), flags=FLAG_MAP) for one in Family}
HOST_SETS = {one: SetShape(key=(ADDRESS_TYPE[one],)) for one in Family}
NET_MAPS = {
    one: SetShape(key=(ADDRESS_TYPE[one],), flags=FLAG_MAP | FLAG_INTERVAL | FLAG_CONSTANT)
    for one in Family
}

Rules = tuple[Rule, ...]


class Place(Enum):
    """Where a table is, and so which hooks it has."""

    NODE = "node"  # packets between pods and others are forwarded
    POD = "pod"  # inside a pod that has an ENI of its own: they are its own


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLog:
    """What the kernel tells of connections: to an nflog group, at most so many a second.

    What is denied is told packet by packet. Of what is allowed one connection in `one_in` is told,
    chosen by chance, by its first packet; with 0 none.
    """

    group: int
    rate_per_s: int = 1000
    one_in: int = 1
    snaplen_bytes: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a table answers who is denied, and whom it tells."""

    is_rejecting: bool = False
    flow_log: FlowLog | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChain:
    """What the rules of one rule set depend on; `name` is without the process's number.

    `nets` has the interval maps there are. `everybody` is what all known hosts may that its map
    of hosts does not tell apart; None where that map tells all.
    """

    name: str
    direction: Direction
    default: Verdict
    nets: Mapping[Family, str] = field(default_factory=dict)
    everybody: Verdict | None = None


def base_chains(place: Place, names: Names, *, has_own_node: bool) -> dict[str, Chain]:
    """Return the chains at hooks, and those that they go on in."""
    if place is Place.POD:
        return _pod_chains(names)
    found = _forward_chains(names)
    if has_own_node:
        found |= _own_node_chains(names)
    return found


def _forward_chains(names: Names) -> dict[str, Chain]:
    egress, ingress = names.of("egress"), names.of("ingress")
    replies = names.of("forward_replies")
    rules = (
        (*has_state(STATE_RELATED), then(ACCEPT)),
        (*is_reply(), then(goto(replies))),
        _by_interface(MetaKey.IIFNAME, egress),
        _by_interface(MetaKey.OIFNAME, ingress),
        (then(goto(names.of("log_allowed"))),),
    )
    answered = (_by_interface(MetaKey.OIFNAME, egress), _by_interface(MetaKey.IIFNAME, ingress))
    return {
        FORWARD: Chain(base=BaseChain(hook=Hook.FORWARD), rules=rules),
        replies: Chain(rules=answered),
    }


def _own_node_chains(names: Names) -> dict[str, Chain]:
    """Return the chains for what pods send to the node itself; what the node opens is free."""
    own_node = names.of("own_node")
    asked = (
        *_always(),
        (*is_reply(), then(ACCEPT)),
        _by_interface(MetaKey.IIFNAME, own_node),
        (then(goto(names.of("log_allowed"))),),
    )
    answered = (*_always(), is_reply() + _by_interface(MetaKey.OIFNAME, own_node))
    return {
        INPUT: Chain(base=BaseChain(hook=Hook.INPUT), rules=asked),
        OUTPUT: Chain(base=BaseChain(hook=Hook.OUTPUT), rules=answered),
    }


def _pod_chains(names: Names) -> dict[str, Chain]:
    egress, ingress = names.of("egress"), names.of("ingress")
    log = (then(goto(names.of("log_allowed"))),)
    found: dict[str, Chain] = {}
    for hook, name, key, opened, answered in (
        (Hook.INPUT, INPUT, MetaKey.IIFNAME, ingress, egress),
        (Hook.OUTPUT, OUTPUT, MetaKey.OIFNAME, egress, ingress),
    ):
        replies = names.of(f"{name}_replies")
        rules = (
            *_always(),
            (*is_reply(), then(goto(replies))),
            _by_interface(key, opened),
            log,
        )
        found[name] = Chain(base=BaseChain(hook=hook), rules=rules)
        found[replies] = Chain(rules=(_by_interface(key, answered),))
    return found


def _always() -> Rules:
    talk = tuple((*rule, then(ACCEPT)) for rule in is_neighbour_talk())
    return (*talk, (*has_state(STATE_RELATED), then(ACCEPT)))


def _by_interface(key: MetaKey, name: str) -> Rule:
    return (Meta(key), by_map(name))


def side_maps(place: Place, names: Names) -> dict[str, SetShape]:
    """Return the maps from interfaces to rule sets, and the set for pods that meet themselves."""
    found = {names.of(name): INTERFACES for name in ("egress", "ingress")}
    if place is Place.NODE:
        found |= {names.of("own_node"): INTERFACES, names.of("itself"): INTERFACE_PAIRS}
    return found


def common_chains(place: Place, names: Names, options: Options) -> dict[str, Rules]:
    """Return the chains that every rule set ends in."""
    denied = names.of("log_denied")
    itself = (_is_itself(names),) if place is Place.NODE else ()
    return {
        names.of("log_allowed"): tuple(_log(options.flow_log, "allowed", is_first_only=True)),
        denied: tuple(_log(options.flow_log, "denied", is_first_only=False)),
        names.of("deny"): (*itself, (then(jump(denied)),), *_refusal(options)),
    }


def _is_itself(names: Names) -> Rule:
    """Return how a pod is let through that meets itself by way of a service."""
    pair = (Meta(MetaKey.IIFNAME), Meta(MetaKey.OIFNAME, 2))
    return (*pair, in_set(names.of("itself")), then(ACCEPT))


def _refusal(options: Options) -> Rules:
    if not options.is_rejecting:
        return ((then(DROP),),)
    reset = (*is_protocol(PROTOCOL_NUMBERS[Protocol.TCP]), Reject(RejectKind.TCP_RESET))
    return (reset, (Reject(RejectKind.ICMPX, ADMIN_PROHIBITED),))


def _log(log: FlowLog | None, prefix: str, *, is_first_only: bool) -> Iterator[Rule]:
    if log is None:
        return
    tell = (Limit(log.rate_per_s, log.rate_per_s), Log(log.group, prefix, log.snaplen_bytes))
    if not is_first_only:
        yield tell
    elif log.one_in:
        chance: Rule = (OneIn(log.one_in), Cmp(CmpOp.EQ, bytes(4))) if log.one_in > 1 else ()
        yield (*has_state(STATE_NEW), *chance, *tell)


def rule_set_chains(chain: RuleChain, names: Names) -> dict[str, Rules]:
    """Return the chains of a rule set by their names."""
    asked, answered = (
        (End.DESTINATION, End.SOURCE)
        if chain.direction is Direction.EGRESS
        else (End.SOURCE, End.DESTINATION)
    )
    main, replies = names.of(chain.name), names.of(f"{chain.name}_replies")
    found = {
        main: (*_sanity(names, replies), *_judge(chain, names, asked)),
        replies: tuple(_judge(chain, names, answered)),
    }
    if chain.everybody is not None:
        rest, rest_replies = rest_of(chain.name, names), names.of(f"{chain.name}_rest_replies")
        turn = (*is_reply(), then(goto(rest_replies)))
        found[rest] = (turn, *_rest(chain, asked))
        found[rest_replies] = tuple(_rest(chain, answered))
    return found


def rest_of(rule_set: str, names: Names) -> str:
    """Return the chain for known hosts that a rule set does not name."""
    return names.of(f"{rule_set}_rest")


def _sanity(names: Names, replies: str) -> Rules:
    deny = then(goto(names.of("deny")))
    return (
        (*has_state(STATE_INVALID), deny),
        (*is_stray_tcp(), deny),
        (*is_reply(), then(goto(replies))),
    )


def _judge(chain: RuleChain, names: Names, end: End) -> Iterator[Rule]:
    for family in Family:
        yield (*address(family, end), by_map(names.hosts(chain.name, family)))
        if chain.everybody is not None:
            known = in_set(names.everybody(family))
            yield (*address(family, end), known, then(chain.everybody))
    yield from _rest(chain, end)


def _rest(chain: RuleChain, end: End) -> Iterator[Rule]:
    for family in Family:
        if family in chain.nets:
            yield (*address(family, end), by_map(chain.nets[family]))
    yield (then(chain.default),)
