"""How does the webhook answer what load balancers need of a pod? By a patch; it refuses nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from terway.controlplane.balancers.objects import SERVICES, is_ours
from terway.controlplane.controller import Informers
from terway.kube.client import KubeClient
from terway.kube.resource import NAMESPACES
from terway.loadbalancer.injection import Injection, NewPod, Selecting, inject
from terway.model.errors import VpcError

_log = structlog.get_logger("webhook")

_GRACE_S = 30  # what the API server gives a pod that says nothing
_SLEEP_SINCE = (1, 30)  # Kubernetes; before, the field is dropped, and a hook without one refused

Patch = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What is added to a pod (RFC 6902)."""

    patch: Patch = field(default_factory=list)
    warnings: tuple[str, ...] = ()


class BalancedAdmission:
    """Gives pods gates and waits. Fits `webhook.Balanced`."""

    def __init__(self, informers: Informers, *, sleep_s: int) -> None:
        self._services = informers.of(SERVICES)
        self._namespaces = informers.of(NAMESPACES)
        self._sleep_s = sleep_s

    def admit_pod(self, raw: Mapping[str, Any], namespace: str) -> Added:
        """Return what a pod that is created needs."""
        try:
            return Added(patch=pod_patch(raw, self._decide(raw, namespace)))
        except (LookupError, TypeError, AttributeError) as error:
            # What cannot be read is the API server's to refuse, in its own words.
            _log.info("webhook.pod_not_read", namespace=namespace, error=repr(error))
            return Added()

    def _decide(self, raw: Mapping[str, Any], namespace: str) -> Injection:
        found = self._namespaces.get(namespace)
        return inject(
            read_pod(raw),
            self._selecting(namespace),
            namespace_labels={} if found is None else found.metadata.labels,
            sleep_s=self._sleep_s,
        )

    def _selecting(self, namespace: str) -> Iterator[Selecting]:
        for key, one in self._services.objects.items():
            is_going = one.metadata.deletion_timestamp is not None
            if key.namespace == namespace and is_ours(one) and not is_going:
                yield Selecting(name=key.name, selector=one.spec.selector or {})


def read_pod(raw: Mapping[str, Any]) -> NewPod:
    """Return what matters of a pod as the API server shows it."""
    spec: Mapping[str, Any] = raw["spec"]
    grace_s = spec.get("terminationGracePeriodSeconds")
    return NewPod(
        labels=(raw.get("metadata") or {}).get("labels") or {},
        gates=tuple(one["conditionType"] for one in spec.get("readinessGates") or ()),
        hooked=tuple("preStop" in (one.get("lifecycle") or {}) for one in spec["containers"]),
        grace_s=_GRACE_S if grace_s is None else grace_s,
    )


def pod_patch(raw: Mapping[str, Any], decided: Injection) -> Patch:
    """Return the operations (RFC 6902) that add what was decided."""
    spec: Mapping[str, Any] = raw["spec"]
    patch: Patch = []
    if decided.gates:
        added = [{"conditionType": one} for one in decided.gates]
        gates = [*(spec.get("readinessGates") or ()), *added]
        patch.append({"op": "add", "path": "/spec/readinessGates", "value": gates})
    patch += [_sleep(spec["containers"], number, decided.sleep_s) for number in decided.sleeping]
    if decided.grace_s is not None:
        path = "/spec/terminationGracePeriodSeconds"
        patch.append({"op": "add", "path": path, "value": decided.grace_s})
    return patch


def _sleep(containers: Sequence[Mapping[str, Any]], number: int, seconds: int) -> dict[str, Any]:
    held = containers[number].get("lifecycle") or {}
    lifecycle = {**held, "preStop": {"sleep": {"seconds": seconds}}}
    return {"op": "add", "path": f"/spec/containers/{number}/lifecycle", "value": lifecycle}


async def make_balanced(
    informers: Informers, client: KubeClient, *, sleep_s: int
) -> BalancedAdmission:
    """Return what answers for load balancers; without waits where the server knows none."""
    knows = bool(sleep_s) and await knows_sleep(client)
    return BalancedAdmission(informers, sleep_s=sleep_s if knows else 0)


async def knows_sleep(client: KubeClient, *, told: Callable[..., Any] = _log.warning) -> bool:
    """Return whether the server and its kubelets know a hook that only waits."""
    try:
        version = msgspec.json.decode(await client.request("GET", "/version"))
        found = tuple(int(re.match(r"\d*", version[one])[0]) for one in ("major", "minor"))  # type: ignore[index]  # it always matches
    except (VpcError, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
        told("webhook.no_version", error=repr(error))
        return False
    if found < _SLEEP_SINCE:
        told("webhook.no_sleep", version=found, remedy="give pods a preStop hook of their own")
    return found >= _SLEEP_SINCE
