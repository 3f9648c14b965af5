"""Client tokens of creations, what a Service's status says, and whose slices and pods are whose."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terway.controlplane.balancers.behind import Behind
from terway.controlplane.balancers.objects import (
    SLICES,
    BalancedService,
    BalancedStatus,
    BalancerStatus,
    EndpointSlice,
    Ingress,
)
from terway.controlplane.balancers.status import ingress_of, is_said
from terway.controlplane.balancers.tokens import Tokens
from terway.controlplane.watched import WATCHED_PODS, ReadinessGate, WatchedPod, WatchedPodSpec
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey, key_of
from terway.kube.services import SERVICE_NAME
from terway.kube.types import ObjectMeta
from terway.loadbalancer.annotations import Settings
from terway.loadbalancer.readiness import gate_of
from terway.model.balancer import BalancerInstance, BalancerProduct, LoadBalancerId
from terway.model.errors import ConflictError, TransientError, UsageError
from tests.support.pod_eni_cluster import Copy

WEB, API = (ObjectKey(namespace="default", name=name) for name in ("web", "api"))


def token_of(tokens: Tokens, what: str) -> str:
    with tokens.of(what) as token:
        return str(token)


def failed(tokens: Tokens, what: str, error: Exception) -> str:
    with pytest.raises(type(error)), tokens.of(what) as token:
        raise error
    return str(token)


def test_a_creation_without_an_answer_is_repeated_with_its_token() -> None:
    tokens = Tokens("s")

    assert failed(tokens, "clb", TransientError("lost")) == token_of(tokens, "clb")


@pytest.mark.parametrize("error", [None, UsageError("no"), ConflictError("no")])
def test_a_creation_with_an_answer_is_over(error: Exception | None) -> None:
    tokens = Tokens("s")
    first = token_of(tokens, "clb") if error is None else failed(tokens, "clb", error)

    assert token_of(tokens, "clb") != first


def test_tokens_differ_by_process_and_by_thing_and_are_short_enough() -> None:
    found = [token_of(Tokens(seed), what) for seed in "ab" for what in ("clb", 200 * "x")]

    assert len(set(found)) == 4
    assert {len(one) for one in found} == {64}


def instance(*addresses: str, hostname: str = "") -> BalancerInstance:
    return BalancerInstance(
        id=LoadBalancerId("lb-1"),
        product=BalancerProduct.NLB,
        name="a",
        addresses=tuple(map(ip_address, addresses)),
        hostname=hostname,
        is_internet=True,
    )


def service(*ingress: Ingress) -> BalancedService:
    return BalancedService(status=BalancedStatus(load_balancer=BalancerStatus(ingress=ingress)))


def test_the_status_has_names_and_the_addresses_that_nodes_look_for() -> None:
    v4, v6 = ({"ip": one, "ipMode": "VIP"} for one in ("192.0.2.1", "2001:db8::1"))
    found = list(ingress_of(Settings(), [instance("192.0.2.1", "2001:db8::1", hostname="n.com")]))

    assert found == [{"hostname": "n.com"}, v4, v6]
    assert list(ingress_of(Settings(), [instance("192.0.2.1")])) == [v4]


def test_a_name_of_the_users_own_stands_for_all() -> None:
    said = Settings(hostname="shop.example.com")

    assert list(ingress_of(said, [instance("192.0.2.1")])) == [{"hostname": "shop.example.com"}]


@pytest.mark.parametrize("mode", ["", "VIP"])
def test_what_is_said_is_not_said_again_whether_the_server_knows_modes_or_not(mode: str) -> None:
    wanted = list(ingress_of(Settings(), [instance("192.0.2.1")]))

    assert is_said(service(Ingress(ip="192.0.2.1", ip_mode=mode)), wanted)
    assert not is_said(service(Ingress(ip="192.0.2.1", ip_mode="Proxy")), wanted)
    assert not is_said(service(), wanted)


class World:
    def __init__(self) -> None:
        self.copies = {SLICES: Copy(), WATCHED_PODS: Copy()}
        self.behind = Behind(self)

    def of(self, resource):
        return self.copies[resource]

    def change(self, resource, old, new) -> list[ObjectKey]:
        key = key_of(new if new is not None else old)
        if new is None:
            del self.copies[resource].objects[key]
        else:
            self.copies[resource].objects[key] = new
        ask = self.behind.of_slice if resource is SLICES else self.behind.of_pod
        return list(ask(Change(key=key, old=old, new=new)))


def slice_of(service: str) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="s", namespace="default", labels={SERVICE_NAME: service})
    )


def pod_with(*services: str) -> WatchedPod:
    gates = tuple(ReadinessGate(condition_type=gate_of(one)) for one in services)
    return WatchedPod(
        metadata=ObjectMeta(name="p", namespace="default"),
        spec=WatchedPodSpec(readiness_gates=gates),
    )


def test_a_slice_that_changes_hands_wakes_both() -> None:
    world = World()
    first, second = slice_of("web"), slice_of("api")

    assert world.change(SLICES, None, first) == [WEB]
    assert world.change(SLICES, first, second) == [WEB, API]
    assert (world.behind.slices(WEB), world.behind.slices(API)) == ((), (second,))
    assert world.change(SLICES, second, None) == [API]
    assert world.behind.slices(API) == ()


def test_pods_are_found_by_what_they_wait_for() -> None:
    world = World()
    pod = pod_with("web", "api")

    assert set(world.change(WATCHED_PODS, None, pod)) == {WEB, API}
    assert world.behind.waiting(WEB) == world.behind.waiting(API) == (pod,)
    world.change(WATCHED_PODS, pod, None)
    assert world.behind.waiting(WEB) == ()
