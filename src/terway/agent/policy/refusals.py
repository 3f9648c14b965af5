"""Whom is to be told that policies are not, or not as ever, in force inside a pod?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from terway.kube.types import ObjectReference
from terway.policy.cluster import PodKey
from terway.policy.policies import Policy, PolicyKey

REFUSED, HELD = "NetworkPolicyRefusedInside", "NetworkPolicyTableHeld"

_log = structlog.get_logger("policy")


class RefusalTeller:
    """Tells of each pod once, and again when it is otherwise; `uid_of` is empty if not known."""

    def __init__(
        self,
        tell: Callable[[ObjectReference, str, str], None],
        uid_of: Callable[[PodKey], str],
    ) -> None:
        self._tell = tell
        self._uid_of = uid_of
        self._told: frozenset[tuple[PodKey, str]] = frozenset()

    def tell(self, refused: Mapping[PodKey, str], notices: Mapping[PodKey, str]) -> None:
        """Tell of the pods that refuse, and of those that hold our table, by events at them."""
        facts = {(pod, REFUSED): text for pod, text in refused.items()}
        facts |= {(pod, HELD): text for pod, text in notices.items() if pod not in refused}
        for pod, reason in facts.keys() - self._told:
            text = _WORDS[reason] + facts[pod, reason]
            _log.error("policy.inside", pod=str(pod), reason=reason, text=text)
            self._tell(self._reference(pod), reason, text)
        self._told = frozenset(facts)

    def _reference(self, pod: PodKey) -> ObjectReference:
        uid = self._uid_of(pod)
        return ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name, uid=uid)


_WORDS = {
    REFUSED: "what policies say of its ENI is not in force, and tried again: ",
    HELD: "a process inside holds the table of its policies; another is in force in its place: ",
}


def shut_out(
    refused: Mapping[PodKey, str], selecting: Callable[[PodKey], Iterable[Policy]]
) -> Mapping[PolicyKey, str]:
    """Return the policies that are not in force for a pod of this node, and why."""
    return {
        policy.key: f"not in force inside {pod}: {text}"
        for pod, text in refused.items()
        for policy in selecting(pod)
    }
