"""The addresses of load balancers: who gets one, and that they come back."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_network
from typing import Any

from terway.lab.kubeapi.controllers.actions import apply
from terway.lab.kubeapi.controllers.loadbalancers import (
    CHOSEN,
    FINALIZER,
    announce,
    concerns_balancers,
    plan_load_balancers,
    withdraw,
)
from terway.lab.kubeapi.controllers.runner import CONTROLLERS, Controller, settle
from terway.lab.kubeapi.objects import metadata
from terway.lab.kubeapi.resources import EVENT, SERVICE
from tests.support.cluster import make_cluster
from tests.support.services import create_service

RANGES = (ip_network("192.168.255.0/29"), ip_network("2001:db8::/64"))
ALL = (
    *CONTROLLERS,
    Controller(
        name="load-balancers",
        plan=partial(plan_load_balancers, ranges=RANGES),
        wants=concerns_balancers,
    ),
)


def carried(state) -> None:
    """Let the controllers work, and the VPC do as they want, until nothing changes."""
    settle(state, ALL)
    while actions := [
        action for one in state.list(SERVICE) for action in (*announce(one), *withdraw(one))
    ]:
        for action in actions:
            apply(state, action)
        settle(state, ALL)


def ingress(state, name: str = "web"):
    """The addresses in the status, after the VPC has done what was chosen."""
    carried(state)
    return state.get(SERVICE, name, "default").object["status"]["loadBalancer"].get("ingress")


def test_a_load_balancer_gets_an_address_and_a_finalizer():
    state = make_cluster()
    create_service(state, type="LoadBalancer")

    assert ingress(state) == [{"ip": "192.168.255.1", "ipMode": "VIP"}]
    assert metadata(state.get(SERVICE, "web", "default").object)["finalizers"] == [FINALIZER]


def test_an_address_is_in_the_status_only_once_it_works():
    state = make_cluster()
    create_service(state, type="LoadBalancer")
    settle(state, ALL)

    held = state.get(SERVICE, "web", "default").object

    assert held["metadata"]["annotations"][CHOSEN] == "192.168.255.1"
    assert held["status"] == {"loadBalancer": {}}


def test_each_family_of_a_service_gets_an_address():
    state = make_cluster()
    families: Any = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}
    create_service(state, type="LoadBalancer", **families)

    assert [one["ip"] for one in ingress(state)] == ["2001:db8::1", "192.168.255.1"]


def test_no_two_services_have_the_same_address_and_one_that_goes_gives_it_back():
    state = make_cluster()
    for name in ("a", "b"):
        create_service(state, name, type="LoadBalancer")
    assert ingress(state, "a") != ingress(state, "b")

    state.delete(SERVICE, "a", "default")
    settle(state, ALL)
    assert state.find(SERVICE, "a", "default") is not None  # for the VPC still forwards
    carried(state)
    create_service(state, "c", type="LoadBalancer")

    assert state.find(SERVICE, "a", "default") is None
    assert ingress(state, "c") == [{"ip": "192.168.255.1", "ipMode": "VIP"}]


def test_another_type_loses_address_and_finalizer():
    state = make_cluster()
    create_service(state, type="LoadBalancer")
    assert ingress(state)

    state.patch(SERVICE, "web", "default", {"spec": {"type": "ClusterIP"}})

    assert ingress(state) is None
    held = metadata(state.get(SERVICE, "web", "default").object)
    assert not held.keys() & {"finalizers", "annotations"}


def test_a_class_of_load_balancers_is_somebody_elses():
    state = make_cluster()
    create_service(state, type="LoadBalancer", loadBalancerClass="example.com/a")

    assert ingress(state) is None


def test_a_range_that_is_full_is_told_once():
    state = make_cluster()
    for number in range(7):  # a /29 has six
        create_service(state, f"s{number}", type="LoadBalancer")

    assert ingress(state, "s6") is None
    told = [one for one in state.list(EVENT) if one["reason"] == "SyncLoadBalancerFailed"]
    assert [one["message"] for one in told] == ["no IPv4 address is free"]
