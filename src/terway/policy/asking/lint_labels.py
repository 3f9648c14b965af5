"""Which selectors of a policy ask for labels that nothing can have?

Source: Kubernetes API reference, "Labels and Selectors", syntax and character set. The API server
refuses such selectors; objects from before it did, and files, may have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from terway.model.selector import Selector
from terway.policy.asking.lint import Finding, Level
from terway.policy.asking.matrix_rules import rules_in
from terway.policy.policies import (
    ClusterPolicy,
    Direction,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
)

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
_REMEDY = "up to 63 of a-z, A-Z, 0-9 and inner - _ . are allowed (keys: after a DNS name and /)"


def impossible_labels(policy: Policy) -> Iterator[Finding]:
    """Yield the keys and values of a policy's selectors that are no label's."""
    for selector in _subject(policy):
        for text in _wrong(selector):
            yield _finding(policy, text)
    for direction in Direction:
        for rule in rules_in(policy, direction):
            for text in (text for peer in rule.peers or () for text in _wrong_of(peer)):
                yield _finding(policy, text, direction, rule.index)


def _finding(
    policy: Policy, text: str, direction: Direction | None = None, rule: int | None = None
) -> Finding:
    return Finding(
        code="no-label",
        level=Level.WARNING,
        policy=policy.key,
        direction=direction,
        rule=rule,
        text=f"{text}: nothing can have it, and the API server refuses the policy",
        remedy=_REMEDY,
    )


def _subject(policy: Policy) -> Iterator[Selector]:
    if isinstance(policy, ClusterPolicy):
        yield from _selectors(policy.subject)
    else:
        yield policy.pods


def _selectors(peer: Peer) -> Iterator[Selector]:
    if isinstance(peer, NodePeer):
        yield peer.nodes
    if isinstance(peer, PodPeer):
        yield peer.pods
        if isinstance(peer.namespaces, Selector):
            yield peer.namespaces


def _wrong_of(peer: Peer) -> Iterator[str]:
    for selector in _selectors(peer):
        yield from _wrong(selector)


def _wrong(selector: Selector) -> Iterator[str]:
    for one in sorted(selector.requirements, key=lambda one: one.key):
        if not _is_key(one.key):
            yield f"{one.key!r} is no key of a label"
        for value in sorted(one.values):
            if value and not _NAME.fullmatch(value):
                yield f"{value!r} (of {one.key!r}) is no value of a label"


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return bool(_NAME.fullmatch(name)) and bool(not slash or _PREFIX.fullmatch(prefix))
