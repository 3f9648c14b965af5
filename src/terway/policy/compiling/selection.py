"""Which policies select which pods of the place, and so which rule sets do the pods need?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from terway.model.selector import EVERYTHING
from terway.policy.cluster import Pod, PodKey
from terway.policy.compiling.book import RuleSetKey
from terway.policy.compiling.facts import Facts, Touched
from terway.policy.compiling.index_selectors import PodSelectors
from terway.policy.compiling.rulesets import PolicySide, resolve, side_of
from terway.policy.policies import (
    ClusterPolicy,
    Direction,
    Kind,
    NetworkPolicy,
    PodPeer,
    Policy,
    PolicyKey,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The rule sets that a pod needs; None is a direction in which nothing restricts it."""

    ingress: RuleSetKey | None
    egress: RuleSetKey | None
    own_node: RuleSetKey | None
    itself: RuleSetKey | None


Stance = dict[Direction, PolicySide]


def _closed(direction: Direction) -> RuleSetKey:
    """Return what a pod needs of which nobody knows what policies say of it."""
    nobody = NetworkPolicy(
        key=PolicyKey(kind=Kind.NETWORK, namespace="", name=""),
        pods=EVERYTHING,
        ingress=(),
        egress=(),
    )
    side = PolicySide(policy=nobody, direction=direction, rules=(), names=())
    return RuleSetKey(direction=direction, sides=(side,))


_CLOSED = Wish(
    ingress=_closed(Direction.INGRESS),
    egress=_closed(Direction.EGRESS),
    own_node=None,
    itself=None,
)


def subject_of(policy: Policy) -> PodPeer:
    """Return the pods that a policy selects."""
    if isinstance(policy, ClusterPolicy):
        return policy.subject
    return PodPeer(namespaces=policy.key.namespace, pods=policy.pods)


class Selection:
    """What each policy says, found by the pods that it selects."""

    __slots__ = ("_facts", "_stances")

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._stances: PodSelectors[dict[PolicyKey, Stance]] = PodSelectors()

    def update(self, touched: Touched) -> dict[PodKey, Wish | None]:
        """Return what pods that a batch touched need now; None is nothing."""
        pods = dict(touched.pods)
        for key, before in touched.policies.items():
            now = self._facts.policies.get(key)
            if now != before:
                self._replace(before, now)
                for policy in (before, now):
                    if policy is not None:
                        pods.update(dict.fromkeys(self._facts.local.select(subject_of(policy))))
        alike: dict[object, Wish | None] = {}
        return {key: self._wish(key, alike) for key in pods}

    def _replace(self, before: Policy | None, now: Policy | None) -> None:
        stance = {} if now is None else _stance(now)
        if before is not None:
            old = self._take(before)
            for direction, side in old.items():
                if direction in stance and side.says_as(stance[direction]):
                    stance[direction] = side  # its rule sets stay
        if now is not None:
            self._stances.ensure(subject_of(now), dict)[now.key] = stance

    def _take(self, policy: Policy) -> Stance:
        subject = subject_of(policy)
        stances = self._stances.ensure(subject, dict)
        stance = stances.pop(policy.key)
        if not stances:
            self._stances.remove(subject)
        return stance

    def _wish(self, key: PodKey, alike: dict[object, Wish | None]) -> Wish | None:
        """Return what a pod needs; None if nothing, or if it is not of the place.

        `alike` are the wishes found so far, by all that they depend on.
        """
        if self._facts.is_unknown(key):
            return _CLOSED
        pod = self._facts.pods.get(key)
        if pod is None or not self._facts.is_local(key):
            return None
        likeness = key.namespace, frozenset(pod.labels.items()), pod.ports
        if likeness not in alike:
            alike[likeness] = self._wish_of(pod)
        return alike[likeness]

    def _wish_of(self, pod: Pod) -> Wish | None:
        namespace = pod.key.namespace
        found = self._facts.namespaces.labels(namespace)
        stances = [
            stance
            for stances in self._stances.matching(namespace, found, pod.labels)
            for stance in stances.values()
        ]
        ingress = _key(stances, Direction.INGRESS, pod)
        egress = _key(stances, Direction.EGRESS, pod)
        if ingress is None and egress is None:
            return None
        return Wish(
            ingress=ingress,
            egress=egress,
            own_node=without_network(egress),
            itself=without_network(ingress),
        )


def _stance(policy: Policy) -> Stance:
    sides = ((direction, side_of(policy, direction)) for direction in Direction)
    return {direction: side for direction, side in sides if side is not None}


def _key(stances: list[Stance], direction: Direction, pod: Pod) -> RuleSetKey | None:
    sides = [stance[direction] for stance in stances if direction in stance]
    if not sides:
        return None
    if any(isinstance(side.policy, NetworkPolicy) for side in sides):
        sides = [side for side in sides if not side.is_baseline]  # it is never asked
    sides.sort(key=lambda side: side.order)
    names = (
        frozenset(resolve((name for side in sides for name in side.names), pod.ports).items())
        if direction is Direction.INGRESS
        else frozenset()
    )
    return RuleSetKey(direction=direction, sides=tuple(sides), names=names)


def without_network(key: RuleSetKey | None) -> RuleSetKey | None:
    """Return what is said where NetworkPolicy allows everything: to the own node, or itself."""
    if key is None:
        return None
    sides = tuple(s for s in key.sides if not isinstance(s.policy, NetworkPolicy))
    if not sides or len(sides) == len(key.sides):
        return key if sides else None
    return replace(key, sides=sides, is_exempt=True)
