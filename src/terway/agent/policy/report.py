"""What is to be told of the policies in force here? To the status object, and by events.

Only of policies that select pods of this node: a thousand nodes need not all tell the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from terway.kube.policy_status import PolicyInForce
from terway.policy.policies import ClusterPolicy, Policy, PolicyKey

FAULT, CAUTION, EQUAL = "PolicyNotReadable", "PolicyNotEnforceable", "PolicyPriorityEqual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A policy and how many pods of this node it selects."""

    policy: Policy
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something about a policy that its author should know; `reason` is the event's."""

    policy: Policy
    reason: str
    text: str


def policies_here(selecting: Iterable[Iterable[Policy]]) -> tuple[Here, ...]:
    """Return the policies that select pods of this node; given are those of each pod."""
    counts: defaultdict[PolicyKey, int] = defaultdict(int)
    policies: dict[PolicyKey, Policy] = {}
    for of_pod in selecting:
        for policy in of_pod:
            counts[policy.key] += 1
            policies[policy.key] = policy
    ordered = sorted(policies, key=str)
    return tuple(Here(policy=policies[key], pods=counts[key]) for key in ordered)


def troubles_of(here: Iterable[Here]) -> Iterator[Trouble]:
    """Yield what is wrong with policies: unreadable, not enforceable as it is, of equal rank."""
    cluster: list[ClusterPolicy] = []
    for one in here:
        policy = one.policy
        if policy.fault:
            yield Trouble(policy=policy, reason=FAULT, text=_told(policy))
        if isinstance(policy, ClusterPolicy):
            if not _is_void(policy):
                cluster.append(policy)
            for caution in policy.cautions:
                yield Trouble(policy=policy, reason=CAUTION, text=caution)
    yield from _equals(cluster)


def _told(policy: Policy) -> str:
    if _is_void(policy):
        return f"is not in force, because it cannot be read: {policy.fault}"
    return f"denies what it selects, because it cannot be read: {policy.fault}"


def _is_void(policy: Policy) -> bool:
    """Return whether it is a cluster policy of which nobody can say whom it selects."""
    return isinstance(policy, ClusterPolicy) and bool(policy.fault) and not _has_rules(policy)


def _has_rules(policy: ClusterPolicy) -> bool:
    return bool(policy.ingress or policy.egress)


def _equals(policies: Iterable[ClusterPolicy]) -> Iterator[Trouble]:
    by_place: defaultdict[tuple[object, int], list[ClusterPolicy]] = defaultdict(list)
    for policy in policies:
        by_place[policy.tier, policy.priority].append(policy)
    for rivals in by_place.values():
        for policy in rivals if len(rivals) > 1 else ():
            others = ", ".join(str(one.key) for one in rivals if one is not policy)
            text = (
                f"priority {policy.priority} is also that of {others}: the order is by name here, "
                "and may be another elsewhere. Give each its own"
            )
            yield Trouble(policy=policy, reason=EQUAL, text=text)


def status_of(
    here: Iterable[Here],
    generations: Mapping[PolicyKey, int],
    shut_out: Mapping[PolicyKey, str],
) -> tuple[PolicyInForce, ...]:
    """Return the lines of the status object; `generations` are those that the filter has.

    `shut_out` are the policies that a pod of the node does not have in force, and why.
    """
    return tuple(
        _line(one, generations.get(one.policy.key), shut_out.get(one.policy.key, ""))
        for one in here
    )


def _line(one: Here, generation: int | None, refusal: str) -> PolicyInForce:
    policy = one.policy
    cautions = policy.cautions if isinstance(policy, ClusterPolicy) else ()
    return PolicyInForce(
        kind=policy.key.kind.value,
        namespace=policy.key.namespace,
        name=policy.key.name,
        uid=policy.uid,
        generation=generation or 0,
        pods=one.pods,
        in_force=generation is not None and not policy.fault and not refusal,
        message=policy.fault or refusal or "; ".join(cautions),
    )
