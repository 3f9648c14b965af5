"""When is a pod Ready for the load balancers in front of it?

A pod with the readiness gate ``service.readiness.alibabacloud.com/<Service>`` is Ready only when
each listener of that Service's load balancer sees it healthy. So a rolling update goes on only when
the new pod really gets connections. Source: product documentation, "Configure readiness gates".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.loadbalancer.wanted import WantedListener
from terway.model.address import IPAddress
from terway.model.balancer import Backend, HealthStatus, ServerGroup

GATE_PREFIX = "service.readiness.alibabacloud.com/"
INJECT_LABEL = "k8s.alibabacloud.com/pod-readiness-gate-inject"
INJECT_VALUE = "enabled"
REFUSED = "ServiceRefused"  # the reason of a condition
# Each answer of the cloud has another: what is refused again is no news.
_REQUEST_ID = re.compile(r" \(RequestId [^)]*\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The condition of a pod. `reason` is a word, `message` says what is missing."""

    is_true: bool
    reason: str
    message: str


NOTHING_TO_WAIT_FOR = Readiness(
    is_true=True,
    reason="NoLoadBalancer",
    message="no Service of this name wants a load balancer: there is nothing to wait for",
)


def refused(service: str, why: str) -> Readiness:
    """Return what a pod is told that waits for a Service which cannot be as it says."""
    said = _REQUEST_ID.sub("", why)
    text = f"no load balancer sends to it while Service {service} is refused: {said}"
    return Readiness(is_true=False, reason=REFUSED, message=text)


def gate_of(service: str) -> str:
    """Return the condition type that stands for a Service."""
    return GATE_PREFIX + service


def services_of(gates: Iterable[str]) -> tuple[str, ...]:
    """Return the Services that a pod's readiness gates name."""
    return tuple(one.removeprefix(GATE_PREFIX) for one in gates if one.startswith(GATE_PREFIX))


def readiness_of(
    addresses: Iterable[IPAddress],
    listeners: Iterable[WantedListener],
    groups: Mapping[str, ServerGroup],
    health: Mapping[tuple[str, IPAddress, int], HealthStatus],
) -> Readiness:
    """Return whether a pod is what a Service's load balancers send connections to.

    `groups` are by name, `health` by the name of the group, address and port of the backend: what
    the listener in front of the group says.
    """
    own = set(addresses)
    pairs = [
        (listener, backend)
        for listener in listeners
        for backend in listener.backends
        if backend.address in own
    ]
    if not pairs:
        text = "no listener has it among its backends: its containers are not ready, or its ENI "
        return Readiness(is_true=False, reason="NotRegistered", message=f"{text}is not known yet")
    troubles = (_missing(*pair, groups, health) for pair in pairs)
    healthy = Readiness(is_true=True, reason="Healthy", message="the load balancer sends to it")
    return next((one for one in troubles if one is not None), healthy)


def _missing(
    listener: WantedListener,
    backend: Backend,
    groups: Mapping[str, ServerGroup],
    health: Mapping[tuple[str, IPAddress, int], HealthStatus],
) -> Readiness | None:
    where = f"{backend.address}:{backend.port} behind {listener.protocol.value} {listener.port}"
    group = groups.get(listener.group_name)
    there = () if group is None else tuple(one.identity for one in group.backends)
    if backend.identity not in there:
        return Readiness(
            is_true=False, reason="NotRegistered", message=f"{where} is not in the group yet"
        )
    if not listener.forwarding.check.is_on:
        return None
    assert backend.address is not None
    said = health.get((listener.group_name, backend.address, backend.port), HealthStatus.UNKNOWN)
    if said is HealthStatus.HEALTHY:
        return None
    return Readiness(
        is_true=False,
        reason="Unhealthy" if said is HealthStatus.UNHEALTHY else "NotChecked",
        message=f"the load balancer says of {where}: {said.value}",
    )
