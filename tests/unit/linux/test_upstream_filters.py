"""Upstream's filters of a trunk, as tc and pyroute2 would ask for them."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import IPv4Address, IPv6Address

import pytest
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from terway.linux.ebpf.pins import Pins
from terway.linux.handback import hand_back
from terway.linux.netlink.codec import message
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netlink.traffic import RTM_NEWTFILTER
from terway.linux.netns import fresh_netns
from terway.linux.trunk import Trunks
from terway.linux.upstream_filters import put_filters, read_lack
from terway.model.address import IPPair
from terway.model.ids import MacAddress
from terway.model.traffic import TrunkMember
from tests.support.kernel_node import sh

MEMBER = TrunkMember(
    link="eth1",
    vlan_id=31,
    mac=MacAddress("00:16:3e:00:00:31"),
    addresses=IPPair(v4=IPv4Address("192.168.96.9"), v6=IPv6Address("2408:4005:100:3::9")),
    has_device=False,
)


def decoded(body):
    """Return what pyroute2 reads of a filter: its place, keys and action."""
    found = tcmsg(message(RTM_NEWTFILTER, 0, 1, body))
    found.decode()
    options = found.get_attr("TCA_OPTIONS")
    action = options.get_attr("TCA_U32_ACT").get_attr("TCA_ACT_PRIO_1")
    parameters = action.get_attr("TCA_ACT_OPTIONS")
    return {
        "priority": found["info"] >> 16,
        "protocol": socket.ntohs(found["info"] & 0xFFFF),
        "keys": len(options.get_attr("TCA_U32_SEL")["keys"]),
        "kind": action.get_attr("TCA_ACT_KIND"),
        "what": parameters.get_attr("TCA_VLAN_PARMS")["v_action"],
        "verdict": parameters.get_attr("TCA_VLAN_PARMS")["action"],
        "vlan_id": parameters.get_attr("TCA_VLAN_PUSH_VLAN_ID"),
    }


def test_each_address_has_its_tag_put_on_and_every_tag_is_taken_off():
    made = [decoded(one.body) for one in list(put_filters(7, (MEMBER,)))[4:]]

    assert [(one["priority"], one["protocol"], one["vlan_id"]) for one in made] == [
        (20000, 0x8100, None),
        (50001, 0x0800, 31),
        (50002, 0x86DD, 31),
    ]
    assert [one["what"] for one in made] == [1, 2, 2]
    assert {one["kind"] for one in made} == {"vlan"}
    assert [one["keys"] for one in made] == [1, 1, 4]


@pytest.mark.root
def test_a_kernel_without_the_action_is_told_from_one_with_it():
    with fresh_netns():
        words = "tc qdisc add dev lo clsact && tc filter add dev lo egress prio 1 protocol ip "
        action = "u32 match u32 0 0 action vlan push id 7"
        done = subprocess.run(["sh", "-c", words + action], capture_output=True, check=False)

    assert (read_lack() == "") is (done.returncode == 0)


@pytest.mark.guest
@pytest.mark.root
def test_the_kernel_shows_them_as_those_that_tc_makes():
    push = "action vlan push id 31"
    by_hand = f"""
        ip link add ours type dummy; ip link add theirs type dummy
        tc qdisc add dev theirs clsact
        all="u32 match u32 0 0"
        tc filter add dev theirs ingress prio 20000 protocol 802.1q $all action vlan pop
        add="tc filter add dev theirs egress"
        $add prio 50001 protocol ip u32 match ip src 192.168.96.9/32 {push}
        $add prio 50002 protocol ipv6 u32 match ip6 src 2408:4005:100:3::9/128 {push}
    """
    with fresh_netns(), open_route_socket() as sock:
        sh(by_hand)
        number = sock.index_of("ours")
        assert number is not None
        for _ in range(2):  # once more changes nothing
            for request in put_filters(number, (MEMBER,)):
                sock.request(request)

        assert shown("ours") == shown("theirs")


def shown(link):
    """Return what tc says of both hooks, less the numbers that count filters."""
    lines = [
        line
        for hook in ("ingress", "egress")
        for line in subprocess.run(
            ["tc", "filter", "show", "dev", link, hook], capture_output=True, text=True, check=True
        ).stdout.splitlines()
    ]
    return [line.partition(" index ")[0] for line in lines]


@pytest.mark.guest
@pytest.mark.root
def test_a_trunk_that_goes_back_has_upstreams_filters_and_none_of_our_programs(tmp_path):
    with fresh_netns(), open_route_socket() as sock:
        sh("ip link add eth1 type dummy")
        number = sock.index_of("eth1")
        assert number is not None
        for request in Trunks().puts(sock, MEMBER, number):
            sock.request(request)
        assert "terway_trunk" in " ".join(shown("eth1"))

        (told,) = hand_back(sock, Pins(tmp_path), (MEMBER,))

        assert told == "trunk eth1: tags of 1 members by upstream's filters"
        found = " ".join(shown("eth1"))
        assert "terway_trunk" not in found
        assert "pref 50001" in found
        assert "pref 50002" in found
        assert "pref 20000" in found
        assert hand_back(sock, Pins(tmp_path), (MEMBER,)) == ()
