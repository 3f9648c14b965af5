"""Which instances, listeners and backends a Service wants."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from terway.loadbalancer.annotations import Settings
from terway.loadbalancer.values import NLB_CLASS, Cluster, Endpoint, Port, Service
from terway.loadbalancer.wanted import wanted_of
from terway.model.address import Family
from terway.model.balancer import CheckKind, Forwarding, ListenerProtocol
from terway.model.errors import UsageError
from terway.model.ids import ENIId, VpcId, VSwitchId, ZoneId

ZONES = ((ZoneId("z"), VSwitchId("vsw-1")),)
CLUSTER = Cluster(
    cluster_id="c1", vpc_id=VpcId("vpc-1"), vswitch_id=VSwitchId("vsw-1"), zones=ZONES
)
TCP, UDP = ListenerProtocol.TCP, ListenerProtocol.UDP
BOTH = (Family.V4, Family.V6)


def service(**changes: Any) -> Service:
    plain = Service(
        namespace="default",
        name="web",
        uid="6f1a-22",
        ports=(Port(name="", protocol=TCP, port=80),),
        families=(Family.V4,),
    )
    return replace(plain, **changes)


def endpoint(address: str, **changes: Any) -> Endpoint:
    plain = Endpoint(address=ip_address(address), ports={"": 8080}, eni_id=ENIId("eni-1"))
    return replace(plain, **changes)


def weights(*endpoints: Endpoint, **settings: Any) -> dict[str, int]:
    (wanted,) = wanted_of(service(), Settings(**settings), endpoints, CLUSTER)
    (listener,) = wanted.listeners
    return {str(one.address): one.weight for one in listener.backends}


A, B = "192.168.32.1", "192.168.32.2"


def test_a_clb_is_of_one_family_and_an_nlb_of_both() -> None:
    dual = service(families=BOTH)
    first, second = wanted_of(dual, Settings(), (), CLUSTER)
    (nlb,) = wanted_of(replace(dual, load_balancer_class=NLB_CLASS), Settings(), (), CLUSTER)

    assert (first.families, first.instance.ip_version) == ((Family.V4,), "ipv4")
    assert (second.families, second.instance.ip_version) == ((Family.V6,), "ipv6")
    assert first.instance.name == "a6f1a22"
    assert second.instance.name == "a6f1a22-v6"
    assert first.instance.tags != second.instance.tags
    assert first.acl_name != second.acl_name
    assert (nlb.families, nlb.instance.ip_version) == (BOTH, "DualStack")


def test_endpoints_go_to_the_instance_of_their_family() -> None:
    found = wanted_of(
        service(families=BOTH), Settings(), (endpoint(A), endpoint("2001:db8::1")), CLUSTER
    )

    assert [[str(one.address) for one in wanted.listeners[0].backends] for wanted in found] == [
        [A],
        ["2001:db8::1"],
    ]


def test_the_first_family_has_the_plain_name_whichever_it_is() -> None:
    first, second = wanted_of(
        service(families=(Family.V6, Family.V4)), Settings(name="shop"), (), CLUSTER
    )

    assert (first.instance.name, second.instance.name) == ("shop", "shop-v6")
    assert first.instance.ip_version == "ipv6"


def test_who_ends_gets_nothing_new_while_another_is_ready() -> None:
    assert weights(endpoint(A, is_terminating=True), endpoint(B)) == {A: 0, B: 100}


def test_when_all_end_they_serve_on() -> None:
    ending = [endpoint(one, is_terminating=True) for one in (A, B)]

    assert weights(*ending) == {A: 100, B: 100}


def test_who_waits_at_a_gate_takes_nothing_over() -> None:
    ending, waiting = endpoint(A, is_terminating=True), endpoint(B, is_ready=False)

    assert weights(ending, waiting) == {A: 100, B: 100}


def test_who_does_not_serve_is_no_backend() -> None:
    assert weights(endpoint(A, serves=False), endpoint(B)) == {B: 100}


def test_an_address_of_an_unknown_eni_waits_for_it_unless_addresses_are_enough() -> None:
    unknown = endpoint(A, eni_id=None)

    assert weights(unknown) == {}
    assert weights(unknown, groups_are_of_addresses=True) == {A: 100}


def test_a_port_is_served_by_those_who_have_it_by_its_name() -> None:
    ports = (Port(name="web", protocol=TCP, port=80), Port(name="dns", protocol=UDP, port=80))
    asked = replace(Settings(), forwarding=Forwarding(persistence_s=60))
    (wanted,) = wanted_of(
        service(ports=ports),
        asked,
        (endpoint(A, ports={"web": 8080}), endpoint(B, ports={"dns": 5353})),
        CLUSTER,
    )

    web, dns = wanted.listeners
    assert [(str(one.address), one.port) for one in web.backends] == [(A, 8080)]
    assert [(str(one.address), one.port) for one in dns.backends] == [(B, 5353)]
    assert web.group_name != dns.group_name
    assert (web.forwarding.check.kind, web.forwarding.persistence_s) == (CheckKind.TCP, 60)
    assert (dns.forwarding.check.kind, dns.forwarding.persistence_s) == (CheckKind.UDP, 0)


@pytest.mark.parametrize(
    ("changes", "settings", "field"),
    [
        ({"families": BOTH}, {"balancer_id": "lb-1"}, "spec.ipFamilyPolicy"),
        ({"families": (Family.V6,)}, {"is_internet": False}, "spec.ipFamilies"),
        (
            {"families": BOTH, "source_ranges": (ip_network("10.0.0.0/8"),)},
            {},
            "spec.loadBalancerSourceRanges",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(
    changes: dict[str, Any], settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        wanted_of(service(**changes), Settings(**settings), (), CLUSTER)

    assert caught.value.field == field


def test_an_nlb_without_a_vswitch_is_refused() -> None:
    nlb = service(load_balancer_class=NLB_CLASS)

    with pytest.raises(UsageError, match="needs a vSwitch in each zone"):
        wanted_of(nlb, Settings(), (), replace(CLUSTER, zones=()))


def test_ranges_are_given_to_the_instance_of_their_family() -> None:
    ranges = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"))
    found = wanted_of(service(families=BOTH, source_ranges=ranges), Settings(), (), CLUSTER)

    assert [one.sources for one in found] == [(ranges[0],), (ranges[1],)]


def test_only_an_intranet_instance_is_in_a_vswitch() -> None:
    (inside,) = wanted_of(service(), Settings(is_internet=False), (), CLUSTER)
    (outside,) = wanted_of(service(), Settings(), (), CLUSTER)

    assert inside.instance.zones == ((ZoneId(""), VSwitchId("vsw-1")),)
    assert outside.instance.zones == ()
