"""The desired state of policy routing, as iproute2 would print it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.datapath.host import desired_eni, desired_host
from terway.datapath.verify import describe
from terway.datapath.veth import desired_attachment
from terway.model.address import Family, IPPair
from terway.model.network import NetObject, Sysctl
from tests.support.attachments import ENI, NODE_FACTS, attachment

V4, V6 = IPv4Address("192.168.32.1"), IPv6Address("fd00:0:0:2::1")


def lines(objects: tuple[NetObject, ...] | None) -> set[str]:
    return {describe(one) for one in objects or () if not isinstance(one, Sysctl)}


def settings(objects: tuple[NetObject, ...] | None) -> dict[str, str]:
    return {one.path: one.value for one in objects or () if isinstance(one, Sysctl)}


NODE_V4 = {
    "address 169.254.1.1/32 dev cali83dbd022cd5: present",
    "route 192.168.32.1/32 table 254: dev cali83dbd022cd5 scope link",
    "rule 512 to 192.168.32.1/32: lookup 254",
    "rule 2048 from 192.168.32.1/32: lookup 1007",
}
NODE_V6 = {
    "address fe80::1/128 dev cali83dbd022cd5: present",
    "route fd00:0:0:2::1/128 table 254: dev cali83dbd022cd5 scope global",
    "rule 512 to fd00:0:0:2::1/128: lookup 254",
    "rule 2048 from fd00:0:0:2::1/128: lookup 1007",
}
POD_V4 = {
    "address 192.168.32.1/32 dev eth0: present",
    "route 0.0.0.0/0 table 254: via 169.254.1.1 dev eth0 scope global onlink",
}
POD_V6 = {
    "address fd00:0:0:2::1/128 dev eth0: present",
    "route ::/0 table 254: via fe80::1 dev eth0 scope global onlink",
}


@pytest.mark.parametrize(
    ("addresses", "node", "pod"),
    [
        (IPPair(v4=V4), NODE_V4, POD_V4),
        (IPPair(v6=V6), NODE_V6, POD_V6),
        (IPPair(v4=V4, v6=V6), NODE_V4 | NODE_V6, POD_V4 | POD_V6),
    ],
    ids=["ipv4", "ipv6", "dual"],
)
def test_a_pod_has_the_same_shape_in_every_family(addresses, node, pod):
    desired = desired_attachment(attachment(addresses=addresses), eni=ENI, node=NODE_FACTS)

    routing = {line for line in lines(desired.node) if not line.startswith(("link ", "guard "))}
    assert routing == node
    found = {line for line in lines(desired.pod) if line.startswith(("address", "route"))}
    assert found == pod


def test_the_pods_gateway_is_a_permanent_neighbour_with_the_host_links_mac():
    desired = desired_attachment(attachment(), eni=ENI, node=NODE_FACTS)

    mac = desired.birth.host.mac
    assert f"neighbour 169.254.1.1 dev eth0: {mac}" in lines(desired.pod)
    assert f"neighbour fe80::1 dev eth0: {mac}" in lines(desired.pod)


def test_both_ends_are_born_with_the_nodes_mtu():
    node = replace(NODE_FACTS, mtu_bytes=8500)

    veth = desired_attachment(attachment(), eni=ENI, node=node).birth

    assert (veth.host.mtu_bytes, veth.peer.mtu_bytes) == (8500, 8500)


def test_ipv6_is_switched_on_in_a_pod_that_has_an_ipv6_address():
    desired = desired_attachment(attachment(), eni=ENI, node=NODE_FACTS)
    plain = desired_attachment(attachment(addresses=IPPair(v4=V4)), eni=ENI, node=NODE_FACTS)

    assert settings(desired.pod)["net/ipv6/conf/eth0/disable_ipv6"] == "0"
    assert settings(plain.pod) == {}


def test_an_eni_has_the_nodes_addresses_and_a_table_of_its_own():
    assert lines(desired_eni(ENI, NODE_FACTS)) == {
        "link eth1: up mtu 1500",
        "address 192.168.0.10/32 dev eth1: present",
        "route 0.0.0.0/0 table 1007: via 192.168.63.253 dev eth1 scope global onlink",
        "address fd00:0:0:1::10/128 dev eth1: present",
        "route fd00:0:0:2::fffd/128 table 254: dev eth1 scope global",
        "route ::/0 table 1007: via fd00:0:0:2::fffd dev eth1 scope global onlink",
    }


def test_a_vswitch_without_an_ipv6_range_gets_no_ipv6_route():
    eni = replace(ENI, gateways=IPPair(v4=IPv4Address("192.168.63.253")))

    assert not any("::/0" in line for line in lines(desired_eni(eni, NODE_FACTS)))


def test_the_node_forwards_and_checks_no_reverse_path():
    found = settings(desired_host(NODE_FACTS))

    assert found["net/ipv4/ip_forward"] == "1"
    assert found["net/ipv6/conf/all/forwarding"] == "1"
    assert {found[f"net/ipv4/conf/{link}/rp_filter"] for link in ("all", "default", "eth0")} == {
        "0"
    }


def test_the_node_keeps_a_default_route_that_it_learnt_from_advertisements():
    paths = [one.path for one in desired_host(NODE_FACTS) if isinstance(one, Sysctl)]

    listening = paths.index("net/ipv6/conf/eth0/accept_ra")
    assert listening < paths.index("net/ipv6/conf/all/forwarding")
    assert settings(desired_host(NODE_FACTS))["net/ipv6/conf/eth0/accept_ra"] == "2"


def test_an_ipv4_node_is_left_without_ipv6_settings():
    node = replace(NODE_FACTS, families=(Family.V4,))

    assert not [path for path in settings(desired_host(node)) if "ipv6" in path]
