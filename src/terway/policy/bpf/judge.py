"""What do the maps say to a packet? bpf/policy.h, look-up by look-up, on what was read of them."""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.address import IPAddress, family_of
from terway.model.policy_maps import (
    NO_CLASS,
    NO_LANES,
    NO_NETS,
    NO_RULE_SET,
    NOBODY,
    ClassNumber,
    Content,
    Generation,
    Lanes,
    Pair,
    Prefix,
    RuleSetNumber,
    Word,
)
from terway.policy.bpf.ports import has
from terway.policy.cluster import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One end of a connection, as its opener made it; `port` is the destination's.

    `other` is the address of the other end; of a pod that meets itself by a service its own.
    """

    endpoint: int
    other: IPAddress
    protocol: Protocol
    port: int = 0
    is_opener: bool = True
    is_own_node: bool = False  # the other end is the endpoint's own node
    is_itself: bool = False


class Judge:
    """Answers for packets that read `generation`; by default, the one in force."""

    def __init__(self, content: Content, generation: Generation | None = None) -> None:
        self._content = content
        self._now = content.generation if generation is None else generation
        self._lengths = sorted({one.length for one in content.nets}, reverse=True)

    def allows(self, asked: Question) -> bool:
        """Return whether the end's policies allow the connection."""
        rule_set = self._rule_set(asked)
        if rule_set == NO_RULE_SET:
            return True
        word = self._verdict(rule_set, self._class_of(asked.other))
        return has(word, self._content.pages, asked.protocol, asked.port)

    def _rule_set(self, asked: Question) -> RuleSetNumber:
        turn = self._content.sides.get(asked.endpoint)
        lanes: Lanes = NO_LANES if turn is None else turn.at(self._now)
        if asked.is_itself:
            return lanes.own_node if asked.is_opener else lanes.itself
        if asked.is_own_node:
            return lanes.own_node if asked.is_opener else NO_RULE_SET
        return lanes.egress if asked.is_opener else lanes.ingress

    def _class_of(self, other: IPAddress) -> ClassNumber:
        turn = self._content.hosts.get(other)
        found = NO_CLASS if turn is None else turn.at(self._now)
        return self._class_by_net(other) if found == NO_CLASS else found

    def _class_by_net(self, other: IPAddress) -> ClassNumber:
        turn = self._content.nets_turn
        nets = NO_NETS if turn is None else turn.at(self._now)
        if nets == NO_NETS:
            return NOBODY
        family, bits = family_of(other), other.max_prefixlen
        for length in self._lengths:
            if length > bits:
                continue
            start = int(other) >> bits - length << bits - length
            found = self._content.nets.get(Prefix(nets, family, start, length))
            if found is not None:
                return found
        return NOBODY

    def _verdict(self, rule_set: RuleSetNumber, class_id: ClassNumber) -> Word:
        verdicts = self._content.verdicts
        found = verdicts.get(Pair(rule_set, class_id))
        return verdicts.get(Pair(rule_set, NOBODY), Word(0)) if found is None else found
