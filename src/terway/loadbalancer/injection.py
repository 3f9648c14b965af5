"""What does a new pod need, so that load balancers know of its beginning and its end?

A readiness gate for each Service with a load balancer that selects it, where its namespace asks for
that. And, with any such gate, a wait before its processes are told to end: the pod is terminating
from the first moment of it, so it gets no new connections by the time they end.
Source: product documentation, "Configure readiness gates"; KEP-3960, "sleep" of a preStop hook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.loadbalancer.readiness import INJECT_LABEL, INJECT_VALUE, gate_of, services_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting:
    """A Service with a load balancer of ours, and the labels of its pods."""

    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPod:
    """A pod that is being made. `hooked` says of each container whether it has a preStop hook."""

    labels: Mapping[str, str]
    gates: tuple[str, ...]
    hooked: tuple[bool, ...]
    grace_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What is to be added: gates, and a wait of `sleep_s` for containers, by their position.

    `grace_s`: the pod's whole time to end, None if it stays as it is.
    """

    gates: tuple[str, ...] = ()
    sleeping: tuple[int, ...] = ()
    sleep_s: int = 0
    grace_s: int | None = None


def inject(
    pod: NewPod,
    services: Iterable[Selecting],
    *,
    namespace_labels: Mapping[str, str],
    sleep_s: int,
) -> Injection:
    """Return what the pod needs; asked again about the outcome, nothing more.

    With `sleep_s` 0 there is no wait, and none for a pod that has no time to end. The processes
    keep the time they had: the wait is added to it.
    """
    wanted = _gates(pod, services) if namespace_labels.get(INJECT_LABEL) == INJECT_VALUE else ()
    added = tuple(one for one in wanted if one not in pod.gates)
    if not services_of((*pod.gates, *added)) or not sleep_s or not pod.grace_s:
        return Injection(gates=added)
    sleeping = tuple(number for number, hooked in enumerate(pod.hooked) if not hooked)
    return Injection(
        gates=added,
        sleeping=sleeping,
        sleep_s=sleep_s if sleeping else 0,
        grace_s=pod.grace_s + sleep_s if sleeping else None,
    )


def _gates(pod: NewPod, services: Iterable[Selecting]) -> tuple[str, ...]:
    found = {
        gate_of(one.name)
        for one in services
        # Without a selector, somebody else says who is behind it.
        if one.selector and one.selector.items() <= pod.labels.items()
    }
    return tuple(sorted(found))
