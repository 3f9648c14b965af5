"""To which nodes do load balancers forward, and whom do they ask for health?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest

from terway.lab.balancer.forwarding import (
    EXCLUDED,
    Probe,
    balancers_of,
    members_of,
    probes_of,
)
from terway.lab.balancer.health import Health
from terway.lab.kubeapi.controllers.loadbalancers import CHOSEN
from terway.lab.kubeapi.objects import Object
from terway.lab.vpc.balancers import Balancing, balanced, check_balancers
from terway.lab.vpc.state import Balancer, Listener, Prober, VpcState
from terway.model.errors import UsageError
from tests.support.instances import VPC, vpc_state

VIP, VIP6 = "192.168.255.1", "2001:db8::1"
ADDRESSES = {"n1": ("192.168.0.1", "2001:db8:1::1"), "n2": ("192.168.0.2", "2001:db8:1::2")}


def node(name: str, *, ready: str = "True", **labels: str) -> Object:
    held = [{"type": "InternalIP", "address": one} for one in ADDRESSES[name]]
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"addresses": held, "conditions": [{"type": "Ready", "status": ready}]},
    }


def service(*ports: Object, addresses: str = VIP, **spec: Any) -> Object:
    held = ports or ({"port": 80, "protocol": "TCP", "nodePort": 30080},)
    return {
        "metadata": {"name": "web", "annotations": {CHOSEN: addresses}},
        "spec": {"type": "LoadBalancer", "ports": list(held), **spec},
    }


LOCAL: Any = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30100}
BOTH = members_of([node("n2"), node("n1")])


def balancers(*services: Object, members=BOTH, healthy=()) -> tuple[Balancer, ...]:
    return balancers_of(services, members, healthy, vpc_id=VPC)


def backends(*services: Object, members=BOTH, healthy=()) -> list[str]:
    (balancer,) = balancers(*services, members=members, healthy=healthy)
    return [str(one) for one in balancer.listeners[0].backends]


def test_an_address_forwards_to_all_ready_nodes_at_the_node_port():
    (balancer,) = balancers(service())

    assert balancer == Balancer(
        vpc_id=VPC,
        address=ip_address(VIP),
        listeners=(
            Listener(
                protocol=6,
                port=80,
                backend_port=30080,
                backends=(ip_address("192.168.0.1"), ip_address("192.168.0.2")),
            ),
        ),
        members=(ip_address("192.168.0.1"), ip_address("192.168.0.2")),
    )


def test_each_address_forwards_to_the_addresses_of_its_family():
    four, six = balancers(service(addresses=f"{VIP},{VIP6}"))

    assert {one.version for one in four.members} == {4}
    assert [str(one) for one in six.members] == ["2001:db8:1::1", "2001:db8:1::2"]


@pytest.mark.parametrize(
    ("nodes", "ready", "known"),
    [
        ([node("n1"), node("n2", ready="Unknown")], ["192.168.0.1"], 2),
        ([node("n1"), node("n2", **{EXCLUDED: ""})], ["192.168.0.1"], 1),
    ],
    ids=["not ready", "excluded"],
)
def test_some_nodes_are_left_out(nodes, ready, known):
    members = members_of(nodes)

    assert backends(service(), members=members) == ready
    assert len(balancers(service(), members=members)[0].members) == known


def test_with_a_local_policy_only_nodes_that_said_yes_are_sent_to():
    yes = Probe("n2", IPv4Address("192.168.0.2"), 30100)
    other = Probe("n1", IPv4Address("192.168.0.1"), 30999)

    assert backends(service(**LOCAL), healthy={yes, other}) == ["192.168.0.2"]
    assert backends(service(**LOCAL)) == []
    assert backends(service(), healthy={yes}) == ["192.168.0.1", "192.168.0.2"]


def test_ports_without_a_node_port_and_sctp_are_not_listened_at():
    bare, sctp = {"port": 1}, {"port": 2, "protocol": "SCTP", "nodePort": 30002}

    (balancer,) = balancers(service(bare, sctp))

    assert balancer.listeners == ()


def test_all_nodes_are_asked_at_each_health_check_port():
    asked = probes_of([service(**LOCAL), service()], BOTH)

    assert asked == {Probe(name, IPv4Address(ADDRESSES[name][0]), 30100) for name in ("n1", "n2")}


def test_what_is_not_a_load_balancer_forwards_nothing():
    assert balancers({**service(), "spec": {"type": "NodePort"}}) == ()
    assert probes_of([{**service(), "spec": {"type": "ClusterIP", **LOCAL}}], BOTH) == frozenset()


# Health

ONE, OTHER = (Probe(name, IPv4Address("192.168.0.1"), 30100) for name in ("n1", "n2"))


def after(*rounds: bool) -> bool:
    health = Health()
    for answer in rounds:
        health = health.step({ONE: answer}, {ONE})
    return ONE in health.healthy


@pytest.mark.parametrize(
    ("rounds", "is_healthy"),
    [
        ((), False),
        ((True,), True),
        ((False,), False),
        ((True, False), True),
        ((True, False, False), False),
        ((True, False, True, False), True),
        ((True, False, False, False, True), True),
    ],
)
def test_one_failure_takes_nobody_out_and_one_success_brings_back(rounds, is_healthy):
    assert after(*rounds) is is_healthy


def test_what_is_not_wanted_is_forgotten_and_unknown_again():
    health = Health().step({ONE: True, OTHER: True}, {ONE})

    assert health.healthy == {ONE}
    assert health.unknown({ONE, OTHER}) == {OTHER}
    assert health.step({}, ()).unknown({ONE}) == {ONE}


# The state of the VPC


def test_load_balancers_are_beside_what_the_cloud_says():
    prober = Prober(vpc_id=VPC, address=IPv4Address("100.100.0.30"))
    found = balancers(service())

    state = balanced(vpc_state(), Balancing(balancers=found, prober=prober))

    assert (state.balancers, state.prober, state.services) == (found, prober, (prober.address,))
    assert balanced(vpc_state(), Balancing()) == vpc_state()


def test_load_balancers_go_with_their_vpc():
    prober = Prober(vpc_id=VPC, address=IPv4Address("100.100.0.30"))
    balancing = Balancing(balancers=balancers(service()), prober=prober)

    assert balanced(VpcState(), balancing) == VpcState()


WRONG = [
    (Listener(protocol=132, port=1, backend_port=2), "protocol 132; TCP or UDP is possible"),
    (
        Listener(protocol=6, port=1, backend_port=2, backends=(ip_address("2001:db8::2"),)),
        "backend 2001:db8::2 is of the other family",
    ),
    (
        Listener(
            protocol=6,
            port=1,
            backend_port=2,
            backends=tuple(ip_address(f"10.0.0.{n}") for n in range(65)),
        ),
        "65 backends; 64 have room",
    ),
]


@pytest.mark.parametrize(("listener", "words"), WRONG)
def test_a_load_balancer_that_cannot_be_is_refused(listener, words):
    balancer = Balancer(vpc_id=VPC, address=ip_address(VIP), listeners=(listener,))

    with pytest.raises(UsageError, match=words):
        check_balancers(replace(vpc_state(), balancers=(balancer,)))
