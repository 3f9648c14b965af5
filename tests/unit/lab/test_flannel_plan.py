"""A Flannel-style node says of itself, and does, what a node with Flannel does."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from terway.lab.flannel.plan import (
    BACKEND_DATA,
    PUBLIC_IP,
    Backend,
    Ground,
    Peer,
    conflist,
    node_annotations,
    peer_commands,
    peer_of,
    setup_commands,
    vtep_mac,
)
from terway.model.errors import UsageError

ME = Peer(
    name="node-1",
    address=IPv4Address("192.168.0.1"),
    block=IPv4Network("10.244.0.0/24"),
    vtep_mac=vtep_mac("node-1"),
)
GROUND = Ground(me=ME, uplink="eth0", mtu_bytes=1500, backend=Backend.VXLAN)


def test_what_a_node_publishes_is_what_the_others_read():
    published = node_annotations(ME, Backend.VXLAN)

    assert peer_of("node-1", "10.244.0.0/24", published) == ME
    assert json.loads(published[BACKEND_DATA]) == {"VNI": 1, "VtepMAC": ME.vtep_mac}


@pytest.mark.parametrize(
    ("block", "published"), [("", {PUBLIC_IP: "192.168.0.1"}), ("10.0.0.0/24", {})]
)
def test_a_node_that_is_not_ready_is_nobodys_peer(block, published):
    assert peer_of("node-1", block, published) is None


def test_a_node_that_publishes_nonsense_is_named():
    with pytest.raises(UsageError, match="node-9"):
        peer_of("node-9", "10.244.0.0/24", {PUBLIC_IP: "here"})


def test_vxlan_takes_its_headers_from_the_pods_packets():
    assert GROUND.pod_mtu_bytes == 1450
    assert replace(GROUND, backend=Backend.VPC).pod_mtu_bytes == 1500
    assert json.loads(conflist(GROUND))["plugins"][0]["mtu"] == 1450


def test_vpc_routes_need_nothing_on_the_node():
    assert list(setup_commands(replace(GROUND, backend=Backend.VPC))) == []


def test_a_peer_is_reached_by_a_neighbour_a_forwarding_entry_and_a_route():
    programs = [program for program, _ in peer_commands([ME])]

    assert programs == ["ip", "bridge", "ip"]


def test_a_nodes_link_has_the_same_local_mac_after_a_restart():
    first = int(vtep_mac("node-1").partition(":")[0], 16)

    assert vtep_mac("node-1") == vtep_mac("node-1") != vtep_mac("node-2")
    assert first & 0b11 == 0b10  # locally administered, one station
