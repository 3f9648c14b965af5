"""When a pod's gate is open."""

from __future__ import annotations

from ipaddress import ip_address

from terway.loadbalancer.readiness import gate_of, readiness_of, services_of
from terway.loadbalancer.wanted import WantedListener
from terway.model.balancer import (
    Backend,
    Forwarding,
    HealthCheck,
    HealthStatus,
    ListenerProtocol,
    ServerGroup,
    ServerGroupId,
)
from terway.model.ids import ENIId

A, B = ip_address("192.168.32.1"), ip_address("192.168.32.2")
BACKEND = Backend(address=A, port=8080, eni_id=ENIId("eni-1"))


def listener(name: str = "g", *, is_checked: bool = True) -> WantedListener:
    return WantedListener(
        protocol=ListenerProtocol.TCP,
        port=80,
        description=name,
        group_name=name,
        backends=(BACKEND,),
        forwarding=Forwarding(check=HealthCheck(is_on=is_checked)),
    )


def said(
    *listeners: WantedListener, there: bool = True, **health: HealthStatus
) -> tuple[bool, str]:
    groups = {
        one.group_name: ServerGroup(
            id=ServerGroupId(one.group_name),
            name=one.group_name,
            backends=(BACKEND,) if there else (),
        )
        for one in listeners
    }
    heard = {(name, A, 8080): status for name, status in health.items()}
    found = readiness_of([A], listeners, groups, heard)
    return found.is_true, found.reason


def test_a_pod_is_ready_when_each_listener_sees_it_healthy() -> None:
    healthy, unhealthy = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY
    both = listener("a"), listener("b")

    assert said(*both, a=healthy, b=healthy) == (True, "Healthy")
    assert said(*both, a=healthy, b=unhealthy) == (False, "Unhealthy")
    assert said(*both, a=healthy) == (False, "NotChecked")


def test_without_a_check_it_is_enough_to_be_in_the_group() -> None:
    assert said(listener(is_checked=False)) == (True, "Healthy")
    assert said(listener(is_checked=False), there=False) == (False, "NotRegistered")


def test_a_pod_that_no_listener_has_is_not_ready_and_hears_why() -> None:
    found = readiness_of([B], [listener()], {}, {})

    assert (found.is_true, found.reason) == (False, "NotRegistered")
    assert "its ENI is not known yet" in found.message


def test_gates_are_those_of_services() -> None:
    gates = [gate_of("web"), "example.com/other", gate_of("api")]

    assert services_of(gates) == ("web", "api")
