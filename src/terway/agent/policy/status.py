"""Tells the API what this node has in force: PolicyNodeStatus, a node condition, and events.

Looked at every few seconds, written only when it says something else than before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from contextlib import suppress
from typing import Any, Protocol

import msgspec
import structlog

from terway.agent.policy.engine import Engine
from terway.agent.policy.proof import Proof
from terway.agent.policy.refusals import RefusalTeller, shut_out
from terway.agent.policy.report import Trouble, policies_here, status_of, troubles_of
from terway.agent.policy.view import View
from terway.kube.client import KubeClient, PatchType
from terway.kube.clock import format_time
from terway.kube.policy_status import POLICY_NODE_STATUSES, PolicyReport
from terway.kube.resource import (
    ADMIN_NETWORK_POLICIES,
    BASELINE_ADMIN_NETWORK_POLICIES,
    CLUSTER_NETWORK_POLICIES,
    NETWORK_POLICIES,
    NODES,
)
from terway.kube.types import ObjectReference
from terway.model.errors import ConflictError, VpcError
from terway.model.ids import NodeName
from terway.policy.cluster import PodKey
from terway.policy.policies import Kind, Policy, PolicyKey

LOOK_EVERY_S = 2.0
NOT_INSTALLED_PERIOD_S = 60.0
_BEGIN_S = 30.0
ASSERT_EVERY_S = 300.0  # as the other condition of ours
CONDITION = "NetworkPolicyInForce"
STALE_AFTER_S = 100.0  # more than an API server is silent that has nothing to tell
POD_UNKNOWN = "NetworkPolicyPodUnknown"
JUDGED_INSIDE = "NetworkPolicyRemovable"

_RESOURCES = {
    Kind.NETWORK: NETWORK_POLICIES,
    Kind.CLUSTER: CLUSTER_NETWORK_POLICIES,
    Kind.ADMIN: ADMIN_NETWORK_POLICIES,
    Kind.BASELINE_ADMIN: BASELINE_ADMIN_NETWORK_POLICIES,
}
_log = structlog.get_logger("policy")


class Tell(Protocol):
    """Warns about any object, by an event."""

    def __call__(self, target: ObjectReference, reason: str, message: str) -> None:
        """Warn; never waits, never fails."""


class StatusWriter:
    """Writes for one node. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        *,
        view: View,
        engine: Engine,
        proof: Proof,
        tell: Tell,
        tell_node: Callable[[str, str], None],
        judged_inside: Callable[[], Iterable[PodKey]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._node = node
        self._view = view
        self._engine = engine
        self._proof = proof
        self._tell = tell
        self._tell_node = tell_node
        self._refusals = RefusalTeller(tell, view.uid_of)
        self._judged_inside = judged_inside
        self._clock = clock
        self._sleep = sleep
        self._seen: object = None
        self._told: frozenset[tuple[PolicyKey, int, str]] = frozenset()
        self._told_unknown: frozenset[PodKey] = frozenset()
        self._told_inside: frozenset[PodKey] = frozenset()
        self._written: PolicyReport | None = None
        self._condition: dict[str, str] | None = None
        self._asserted_at = self._changed_at = 0.0
        self._owners: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Look and write until cancelled."""
        with suppress(TimeoutError):  # after that, why it is not in force is worth telling
            async with asyncio.timeout(_BEGIN_S):
                await self._engine.begun.wait()
        while True:
            pause_s = LOOK_EVERY_S
            try:
                await self.write()
            except ConflictError:
                pause_s = NOT_INSTALLED_PERIOD_S  # the cluster does not know the kind
            except VpcError as error:
                _log.warning("policy.status_not_written", error=str(error))
            await self._sleep(pause_s)

    async def write(self) -> None:
        """Write what has changed since it was last written."""
        await self._write_condition()
        if self._has_nothing_new():
            return
        report = self._now()
        if report != self._written:
            await self._put(report)
            self._written = report

    async def delete(self) -> None:
        """Remove the object: this node enforces nothing any more."""
        await self._client.delete(POLICY_NODE_STATUSES, self._node)

    def _has_nothing_new(self) -> bool:
        state, outcome = self._engine.state, self._proof.outcome
        engine = self._engine
        inside = dict(engine.refused), dict(engine.notices)
        seen = (self._view.version, state.commits, state.trouble, len(outcome.differences), inside)
        if seen == self._seen and self._written is not None:
            return True
        self._seen = seen
        return False

    def _now(self) -> PolicyReport:
        here = policies_here(self._view.selecting(key) for key in tuple(self._view.attached))
        self._tell_of(tuple(troubles_of(here)))
        self._refusals.tell(self._engine.refused, self._engine.notices)
        self._tell_of_unknown(frozenset(self._view.unknown))
        self._tell_of_inside(self._view.net_admins.intersection(self._judged_inside()))
        return PolicyReport(
            differences=len(self._proof.outcome.differences),
            message=self._engine.state.trouble,
            policies=status_of(
                here,
                self._engine.state.generations,
                shut_out(self._engine.refused, self._view.selecting),
            ),
        )

    def _tell_of(self, troubles: Sequence[Trouble]) -> None:
        known = {(one.policy.key, one.policy.generation, one.text): one for one in troubles}
        for fact, trouble in known.items():
            if fact not in self._told:
                _log.warning(
                    "policy.trouble",
                    policy=str(trouble.policy.key),
                    reason=trouble.reason,
                    text=trouble.text,
                )
                self._tell(_reference(trouble.policy), trouble.reason, trouble.text)
        self._told = frozenset(known)

    def _tell_of_unknown(self, pods: frozenset[PodKey]) -> None:
        for pod in sorted(pods - self._told_unknown):
            text = (
                f"{pod} has an interface here and is no pod of the API server (deleted by "
                "force?): it is shut, but for this node, until the runtime removes it"
            )
            _log.warning("policy.pod_unknown", pod=str(pod), text=text)
            self._tell_node(POD_UNKNOWN, text)
        self._told_unknown = pods

    def _tell_of_inside(self, pods: Set[PodKey]) -> None:
        """Tell of pods that could remove their own table."""
        for pod in sorted(pods - self._told_inside):
            text = (
                "what passes the pod's own ENI is judged inside the pod, where a container with "
                "CAP_NET_ADMIN can remove that: terwayd makes it anew, some seconds later"
            )
            _log.warning("policy.judged_inside", pod=str(pod), text=text)
            uid = self._view.uid_of(pod)
            target = ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name, uid=uid)
            self._tell(target, JUDGED_INSIDE, text)
        self._told_inside = frozenset(pods)

    async def _put(self, report: PolicyReport) -> None:
        """Write the whole of it. ConflictError when the cluster does not know the kind."""
        body: dict[str, Any] = {
            "metadata": {"name": self._node, "ownerReferences": await self._owner()},
            "status": {
                "observedAt": format_time(self._clock()),
                "differences": report.differences,
                "message": report.message,
                "policies": msgspec.to_builtins(report.policies),
            },
        }
        try:
            await self._client.patch(POLICY_NODE_STATUSES, self._node, body)
        except ConflictError:
            await self._client.create(POLICY_NODE_STATUSES, body)

    async def _owner(self) -> list[dict[str, Any]]:
        """Return the node as owner: with it, the object goes."""
        if not self._owners:
            node = await self._client.get(NODES, self._node)
            if node is not None:
                reference = {"apiVersion": "v1", "kind": "Node", "name": self._node}
                self._owners = [{**reference, "uid": node.metadata.uid}]
        return self._owners

    async def _write_condition(self) -> None:
        condition, clock = self._condition_now(), self._clock()
        # A clock that was set back must not keep it from being written for so long.
        if condition == self._condition and abs(clock - self._asserted_at) < ASSERT_EVERY_S:
            return
        if self._condition is None or self._condition["status"] != condition["status"]:
            self._changed_at = clock
        now, since = format_time(clock), format_time(self._changed_at)
        said = {**condition, "lastHeartbeatTime": now, "lastTransitionTime": since}
        await self._client.patch(
            NODES,
            self._node,
            {"status": {"conditions": [said]}},
            kind=PatchType.STRATEGIC,
            subresource="status",
        )
        self._condition, self._asserted_at = condition, clock

    def _condition_now(self) -> dict[str, str]:
        trouble, differences = self._engine.state.trouble, self._proof.outcome.differences
        if trouble:
            return _condition("False", "NotInForce", trouble)
        for pod, refusal in self._engine.refused.items():
            return _condition("False", "RefusedInside", f"{pod}: {refusal}")
        if differences:
            return _condition("False", "Differs", differences[0])
        if self._view.stale_s > STALE_AFTER_S:
            why = "; ".join(self._view.troubles) or "the API server says nothing any more"
            text = "what was heard of is in force, also for pods that start; what came since is not"
            return _condition("Unknown", "NotHeard", f"{text}: {why}")
        return _condition("True", "InForce", "the packet filter has what policies say")


def _condition(status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": CONDITION, "status": status, "reason": reason, "message": message}


def _reference(policy: Policy) -> ObjectReference:
    key = policy.key
    return ObjectReference(
        api_version=_RESOURCES[key.kind].api_version,
        kind=key.kind.value,
        namespace=key.namespace,
        name=key.name,
        uid=policy.uid,
    )
