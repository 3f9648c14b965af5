"""What the eBPF data path of a node is planned to be: programs at links, and what they are told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network

import pytest

from terway.datapath.ebpf import own_addresses, without_programs
from terway.datapath.exclusive import desired_device, desired_leg
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.host import desired_eni
from terway.datapath.map_sizes import map_sizes
from terway.datapath.node import desired_node
from terway.datapath.plan import plan_attach, plan_detach, unborn
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.model.address import Family, IPPair
from terway.model.attachment import AttachmentKey
from terway.model.endpoint import EndpointKind, endpoint_number
from terway.model.ids import ContainerId, MacAddress
from terway.model.interface import Bandwidth
from terway.model.network import CreateVeth, LinkAddress, LinkSettings, Put, Remove
from terway.model.programs import Edge, EdgePrograms, InnerPrograms, NodeKnowledge, PodPrograms
from tests.support.attachments import attachment

NODE = NodeFacts(
    addresses=IPPair(v4=IPv4Address("192.168.0.10"), v6=IPv6Address("fd00::10")),
    uplink="eth0",
    families=(Family.V4, Family.V6),
    service_cidrs=(ip_network("172.21.0.0/20"),),
    host_stack_cidrs=(ip_network("169.254.20.10/32"),),
    has_datapath=True,
)
ENI = ENILink(
    name="eth1",
    ifindex=7,
    mac=MacAddress("00:16:3e:00:00:01"),
    gateways=IPPair(v4=IPv4Address("192.168.63.253")),
)
POD = attachment()


def programs(found) -> list[object]:
    kinds = (PodPrograms, InnerPrograms, EdgePrograms, NodeKnowledge)
    return [one for one in found or () if isinstance(one, kinds)]


def test_a_node_without_the_data_path_has_nothing_of_it():
    node = replace(NODE, has_datapath=False)
    pod = desired_attachment(POD, eni=ENI, node=node)
    leg, device = desired_leg(POD, node=node), desired_device(POD, gateways=IPPair(), node=node)

    for found in (pod.node, pod.pod, leg.node, device.pod, desired_eni(ENI, node)):
        assert programs(found) == []
    assert programs(desired_node(node)) == []


def test_a_pods_link_has_programs_that_know_its_addresses_its_eni_and_its_number():
    (found,) = programs(desired_attachment(POD, eni=ENI, node=NODE).node)

    assert isinstance(found, PodPrograms)
    endpoint = found.endpoint
    assert endpoint.number == endpoint_number(POD.key)
    assert endpoint.kind is EndpointKind.VETH
    assert (endpoint.addresses, endpoint.eni) == (POD.lease.addresses, 7)
    assert not endpoint.is_queued


def test_what_comes_for_a_pod_with_a_limit_waits_in_its_queue():
    limited = replace(POD, spec=replace(POD.spec, bandwidth=Bandwidth(ingress=1_000_000)))

    (found,) = programs(desired_attachment(limited, eni=ENI, node=NODE).node)

    assert isinstance(found, PodPrograms)
    assert found.endpoint.is_queued


def test_the_endpoint_is_known_before_the_pods_end_is_up():
    desired = desired_attachment(POD, eni=ENI, node=NODE)

    plan = plan_attach(desired, unborn(desired))

    kinds = [type(one.object) if isinstance(one, Put) else type(one) for one in plan]
    pod_up = next(
        number
        for number, one in enumerate(plan)
        if isinstance(one, Put) and one.netns and isinstance(one.object, LinkSettings)
    )
    assert kinds.index(CreateVeth) < kinds.index(PodPrograms) < pod_up


def test_DEL_forgets_the_endpoint_before_it_deletes_the_link():
    desired = desired_attachment(POD, eni=ENI, node=NODE)

    *removals, last = plan_detach(desired, desired)

    assert any(isinstance(one, Remove) and programs([one.object]) for one in removals)
    assert not isinstance(last, Remove)


def test_programs_that_are_not_there_are_a_difference_and_are_put_again():
    desired = desired_attachment(POD, eni=ENI, node=NODE)
    actual = without_programs(desired)

    (difference,) = verify(desired, actual)
    assert str(difference).startswith(f"node: data path dev {desired.birth.host.name}: wanted")
    (put,) = plan_attach(desired, actual)
    assert isinstance(put, Put)
    assert isinstance(put.object, PodPrograms)


def test_a_pod_with_its_own_eni_has_programs_at_both_legs():
    (outer,) = programs(desired_leg(POD, gateways=ENI.gateways, node=NODE).node)
    (inner,) = programs(desired_device(POD, gateways=IPPair(), node=NODE).pod)

    assert isinstance(outer, PodPrograms)
    assert isinstance(inner, InnerPrograms)
    assert outer.endpoint.kind is EndpointKind.EXCLUSIVE
    assert outer.endpoint.gateways == ENI.gateways  # whose probes are never judged
    assert (inner.number, inner.leg) == (outer.endpoint.number, "veth1")


@pytest.mark.parametrize(("is_ours", "is_there"), [(True, False), (False, True)])
def test_services_go_by_the_nodes_stack_where_somebody_else_does_them(is_ours, is_there):
    node = replace(NODE, has_services=is_ours)
    (knowledge,) = (one for one in desired_node(node) if isinstance(one, NodeKnowledge))
    routes = [str(getattr(one, "destination", "")) for one in desired_leg(POD, node=node).pod or ()]

    assert (ip_network("172.21.0.0/20") in knowledge.host_stack) == is_there
    assert ("172.21.0.0/20" in routes) == is_there
    assert ip_network("169.254.20.10/32") in knowledge.host_stack


def test_enis_and_the_uplink_have_programs_of_their_own():
    assert EdgePrograms(link="eth1", edge=Edge.ENI) in desired_eni(ENI, NODE)
    assert EdgePrograms(link="eth0", edge=Edge.UPLINK) in desired_node(NODE)


def test_every_address_of_the_node_is_its_own_but_those_that_lead_nowhere():
    given = [
        LinkAddress(link=link, address=ip_interface(address))
        for link, address in (
            ("docker0", "172.17.0.1/16"),
            ("cali1", "169.254.1.1/32"),
            ("cali1", "fe80::1/128"),
            ("lo", "127.0.0.1/8"),
        )
    ]

    found = own_addresses(NODE, given)

    assert found == {IPv4Address("172.17.0.1"), *NODE.addresses}


def test_numbers_of_endpoints_are_those_of_the_key_and_mean_somebody():
    numbers = {
        endpoint_number(AttachmentKey(container_id=ContainerId(f"c{i}"), ifname="eth0"))
        for i in range(1000)
    }

    assert len(numbers) == 1000
    assert all(0 < number < 2**31 for number in numbers)


@pytest.mark.parametrize("pods", [1, 49, 250, 1000])
def test_maps_have_room_for_every_interface_of_every_pod(pods):
    sizes = map_sizes(pods)

    assert sizes["endpoints"] >= 2 * pods
    assert sizes["locals"] >= 2 * sizes["endpoints"]
    assert 65_536 <= sizes["flows"] <= 524_288


def test_how_many_connections_are_remembered_can_be_said():
    assert map_sizes(50, 100_000)["flows"] == 100_000
