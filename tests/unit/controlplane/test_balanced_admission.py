"""What the webhook adds to pods for load balancers: gates, and a wait before the end."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from terway.controlplane.balancers.admission import BalancedAdmission, knows_sleep
from terway.controlplane.balancers.objects import SERVICES, BalancedService, BalancedSpec
from terway.kube.resource import NAMESPACES, key_of
from terway.kube.types import Namespace, ObjectMeta
from terway.loadbalancer.readiness import INJECT_LABEL
from terway.model.errors import TransientError
from tests.support.pod_eni_cluster import Copy, apply

GATE = "service.readiness.alibabacloud.com/web"


class World:
    """A namespace with Services."""

    def __init__(self, *services: BalancedService, injects: bool = True, sleep_s: int = 15) -> None:
        labels = {INJECT_LABEL: "enabled"} if injects else {}
        home = Namespace(metadata=ObjectMeta(name="default", labels=labels))
        self.copies: dict[Any, Copy] = {SERVICES: Copy(), NAMESPACES: Copy()}
        for resource, one in ((NAMESPACES, home), *((SERVICES, one) for one in services)):
            self.copies[resource].objects[key_of(one)] = one
        self.admission = BalancedAdmission(self, sleep_s=sleep_s)

    def of(self, resource: Any) -> Any:
        return self.copies[resource]

    def admit(self, pod: dict[str, Any]) -> dict[str, Any]:
        return apply(copy.deepcopy(pod), list(self.admission.admit_pod(pod, "default").patch))


def service(name: str = "web", namespace: str = "default", **spec: Any) -> BalancedService:
    said = {"type": "LoadBalancer", "selector": {"app": "web"}, **spec}
    return BalancedService(
        metadata=ObjectMeta(name=name, namespace=namespace), spec=BalancedSpec(**said)
    )


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "c"}, {"name": "d", "lifecycle": {"preStop": {"exec": {}}}}]
    return {
        "metadata": {"name": "a", "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": containers, "terminationGracePeriodSeconds": 30, **spec},
    }


def test_a_pod_behind_a_load_balancer_has_its_gate_and_time_to_leave() -> None:
    admitted = World(service()).admit(pod())["spec"]

    assert admitted["readinessGates"] == [{"conditionType": GATE}]
    first, second = admitted["containers"]
    assert first["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert second["lifecycle"] == {"preStop": {"exec": {}}}  # its own
    assert admitted["terminationGracePeriodSeconds"] == 45


def test_the_outcome_needs_nothing_more() -> None:
    """The API server asks again when another webhook has changed the pod."""
    world = World(service())
    once = world.admit(pod())

    assert world.admit(once) == once


def test_a_gate_by_hand_has_the_wait_too_wherever_it_is() -> None:
    admitted = World(injects=False).admit(pod(readinessGates=[{"conditionType": GATE}]))

    assert admitted["spec"]["readinessGates"] == [{"conditionType": GATE}]
    assert admitted["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 15


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(service(), injects=False),
        World(service(type="ClusterIP")),
        World(service(load_balancer_class="example.com/other")),
        World(service(selector={"app": "other"})),
        World(service(selector=None)),
        World(service(namespace="other")),
    ],
)
def test_a_pod_of_no_load_balancer_is_left_as_it_is(world: World) -> None:
    assert world.admit(pod())["spec"] == pod()["spec"]


def test_without_a_wait_there_is_the_gate_alone() -> None:
    admitted = World(service(), sleep_s=0).admit(pod())["spec"]

    assert admitted == pod(readinessGates=[{"conditionType": GATE}])["spec"]


def test_a_pod_that_is_to_end_at_once_does_so() -> None:
    admitted = World(service()).admit(pod(terminationGracePeriodSeconds=0))["spec"]

    assert admitted["terminationGracePeriodSeconds"] == 0
    assert "lifecycle" not in admitted["containers"][0]


@pytest.mark.parametrize("raw", [{}, {"spec": {}}, {"spec": {"containers": [None]}}])
def test_what_cannot_be_read_is_not_held_up(raw: dict[str, Any]) -> None:
    """The API server refuses it, in its own words."""
    assert World(service()).admission.admit_pod(raw, "default").patch == []


class Server:
    """An API server of a version; of none, one that does not answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def request(self, method: str, path: str) -> bytes:
        if not self._answer:
            raise TransientError("away")
        return self._answer


@pytest.mark.parametrize(
    ("answer", "knows"),
    [
        (b'{"major": "1", "minor": "32"}', True),
        (b'{"major": "1", "minor": "30+"}', True),
        (b'{"major": "1", "minor": "29"}', False),
        (b'{"major": "2", "minor": "0"}', True),
        (b'{"major": "", "minor": ""}', False),
        (b"[]", False),
        (b"", False),
    ],
)
async def test_no_hook_is_given_that_the_server_does_not_know(answer: bytes, knows: bool) -> None:
    told: list[str] = []

    found = await knows_sleep(Server(answer), told=lambda event, **facts: told.append(event))  # type: ignore[arg-type]

    assert found is knows
    assert bool(told) is not knows
