"""What our codec writes, pyroute2 reads; what pyroute2 writes, our codec reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from pyroute2 import IPRoute

from terway.linux.netlink import address, link, neighbour, route, rule, traffic
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import open_netns
from terway.model.address import Family
from terway.model.errors import ConflictError
from terway.model.ids import MacAddress
from terway.model.network import (
    LinkAddress,
    LinkSettings,
    Neighbour,
    Route,
    RoutingRule,
    Scope,
)
from tests.support.netns import ScratchNetns

pytestmark = pytest.mark.root

A, B = (
    LinkSettings(name=name, mac=MacAddress(f"02:00:00:00:00:0{number}"), mtu_bytes=1400)
    for number, name in ((1, "a"), (2, "b"))
)


@pytest.fixture
def sock(netns: ScratchNetns) -> Iterator[RouteSocket]:
    with open_route_socket() as opened:
        yield opened


@pytest.fixture
def oracle(netns: ScratchNetns) -> Iterator[IPRoute]:
    # pyroute2's synchronous API runs a loop of its own and makes it the thread's.
    with IPRoute() as opened:
        yield opened
    asyncio.set_event_loop(None)


@pytest.fixture
def ifindex(sock: RouteSocket) -> int:
    sock.send([link.create_veth(A, B), link.change(A), link.change(B)])
    found = sock.first(link.by_name("a"))
    assert found is not None
    return found.ifindex


def name_of(ifindex: int) -> str:
    return f"link{ifindex}"


def test_a_veth_is_created_as_asked(sock, oracle, ifindex):
    [seen] = oracle.get_links(ifname="a")

    assert seen.get("address") == "02:00:00:00:00:01"
    assert seen.get("mtu") == 1400
    assert seen.get("linkinfo").get("kind") == "veth"
    assert seen["flags"] & 1


def test_the_peer_is_born_in_the_other_namespace_under_its_final_name(sock, pod):
    with open_netns(pod.path) as opened:
        sock.request(link.create_veth(A, B, peer_netns_fd=opened.fd, group=42))
        with open_route_socket(opened.fd) as inside:
            found = inside.first(link.by_name("b"))

    host = sock.first(link.by_name("a"))
    assert sock.first(link.by_name("b")) is None
    assert found is not None
    assert host is not None
    assert (found.mac, found.mtu_bytes, found.is_up) == (B.mac, 1400, False)
    assert (found.peer_ifindex, host.peer_ifindex) == (host.ifindex, found.ifindex)
    assert (host.is_up, host.group) == (True, 42)


def test_links_are_read_as_pyroute2_reads_them(sock, oracle, ifindex):
    seen = {one["index"]: (one.get("ifname"), one.get("mtu")) for one in oracle.get_links()}

    assert {one.ifindex: (one.name, one.mtu_bytes) for one in sock.query(link.all_links())} == seen


def test_settings_alias_and_name_can_be_changed(sock, oracle, ifindex):
    sock.send(
        [
            link.change(LinkSettings(name="a", mtu_bytes=1300, alias="terway x", is_up=False)),
            link.rename(ifindex, "c"),
        ]
    )

    [seen] = oracle.get_links(ifindex)
    assert (seen.get("ifname"), seen.get("mtu"), seen.get("ifalias")) == ("c", 1300, "terway x")
    assert not seen["flags"] & 1


def test_a_link_can_be_moved(sock, ifindex, pod):
    with open_netns(pod.path) as opened:
        sock.request(link.move("a", opened.fd))

    assert sock.first(link.by_name("a")) is None
    assert "a@" in pod.run("ip -o link show")


@pytest.mark.parametrize("text", ["10.1.0.1/24", "fd00::1/64"])
def test_an_address_is_added_read_and_removed(sock, oracle, ifindex, text):
    wanted = LinkAddress(link=name_of(ifindex), address=ip_interface(text))
    family = Family.V4 if wanted.address.version == 4 else Family.V6

    sock.send([address.put(wanted, ifindex)] * 2)

    ip = str(wanted.address.ip)
    [seen] = [one for one in oracle.get_addr(index=ifindex) if one.get("address") == ip]
    assert seen["prefixlen"] == wanted.address.network.prefixlen
    # IPv6: usable at once, never tentative (0x40)
    assert not seen.get("flags") & 0x40
    assert wanted in sock.query(address.all_addresses(family, name_of, ifindex=ifindex))
    sock.send([address.remove(wanted, ifindex)] * 2)
    assert wanted not in sock.query(address.all_addresses(family, name_of))


ROUTES = {
    "direct": {"destination": "10.2.0.0/16", "scope": Scope.LINK},
    "on-link": {"destination": "0.0.0.0/0", "gateway": "169.254.1.1", "is_onlink": True},
    "table": {"destination": "10.3.0.0/16", "table": 1007, "scope": Scope.LINK, "metric": 50},
    "mtu": {"destination": "10.4.0.0/16", "scope": Scope.LINK, "mtu_bytes": 1200},
    "source": {"destination": "10.5.0.0/16", "scope": Scope.LINK, "source": "10.1.0.1"},
    "direct6": {"destination": "fd00:2::1/128"},
    "on-link6": {"destination": "::/0", "gateway": "fe80::1", "is_onlink": True},
    "table6": {"destination": "fd00:3::/64", "table": 1007, "metric": 50},
}


def make_route(fields: dict[str, Any], ifindex: int) -> Route:
    parsers: dict[str, Callable[[str], Any]] = {
        "destination": ip_network,
        "gateway": ip_address,
        "source": ip_address,
    }
    parsed = {key: parsers[key](value) for key, value in fields.items() if key in parsers}
    return Route(link=name_of(ifindex), **{**fields, **parsed})


@pytest.mark.parametrize("fields", ROUTES.values(), ids=ROUTES.keys())
def test_a_route_is_added_read_and_removed(sock, oracle, ifindex, fields):
    wanted = make_route(fields, ifindex)
    family = Family.V4 if wanted.destination.version == 4 else Family.V6
    source = LinkAddress(link="a", address=ip_interface("10.1.0.1/24"))
    query = route.all_routes(family, name_of, table=wanted.table)

    sock.send([address.put(source, ifindex), *[route.put(wanted, ifindex)] * 2])

    assert sock.query(query) == [wanted]
    version = 2 if family is Family.V4 else 10
    [seen] = [
        one
        for one in oracle.get_routes(family=version, table=wanted.table)
        if one["proto"] == 3  # RTPROT_BOOT: not the kernel's
    ]
    assert seen["dst_len"] == wanted.destination.prefixlen
    assert seen.get("oif") == ifindex
    assert (seen.get("gateway") or None) == (wanted.gateway and str(wanted.gateway))
    assert bool(seen["flags"] & 4) == wanted.is_onlink
    sock.send([route.remove(wanted, ifindex)] * 2)
    assert sock.query(query) == []


def test_a_route_to_the_same_destination_is_replaced_in_one_step(sock, ifindex):
    first, second = (
        make_route({"destination": "0.0.0.0/0", "gateway": gateway, "is_onlink": True}, ifindex)
        for gateway in ("169.254.1.1", "169.254.1.2")
    )

    sock.send([route.put(first, ifindex), route.put(second, ifindex)])

    assert sock.query(route.all_routes(Family.V4, name_of)) == [second]


def test_routes_made_by_others_are_read(sock, oracle, ifindex):
    oracle.route("add", dst="10.7.0.0/16", oif=ifindex, table=77, proto=4, scope=253)
    wanted = make_route({"destination": "10.7.0.0/16", "table": 77, "scope": Scope.LINK}, ifindex)

    assert sock.query(route.all_routes(Family.V4, name_of, table=77)) == [wanted]


RULES = [
    RoutingRule(family=Family.V4, priority=512, table=254, destination=ip_network("10.1.0.1/32")),
    RoutingRule(family=Family.V4, priority=2048, table=1007, source=ip_network("10.1.0.1/32")),
    RoutingRule(family=Family.V4, priority=7, table=77, iif="a", fwmark=0x10, fwmask=0xF0),
    RoutingRule(family=Family.V6, priority=512, table=254, destination=ip_network("fd00::1/128")),
    RoutingRule(family=Family.V6, priority=8, table=77, oif="a"),
]


@pytest.mark.parametrize("wanted", RULES, ids=lambda one: f"{one.family.name}-{one.priority}")
def test_a_rule_is_added_read_and_removed(sock, oracle, wanted):
    sock.send([rule.put(wanted)] * 2)

    assert sock.query(rule.all_rules(wanted.family)).count(wanted) == 1
    version = 2 if wanted.family is Family.V4 else 10
    found = list(oracle.get_rules(family=version))
    [seen] = [one for one in found if one.get("priority") == wanted.priority]
    assert seen.get("table") == wanted.table
    assert seen.get("iifname") == (wanted.iif or None)
    assert seen.get("oifname") == (wanted.oif or None)
    sock.send([rule.remove(wanted)] * 2)
    assert wanted not in sock.query(rule.all_rules(wanted.family))


def test_a_needle_finds_one_rule_among_many(sock):
    many = [
        RoutingRule(
            family=Family.V4, priority=512, table=254, destination=ip_network(f"10.1.0.{number}")
        )
        for number in range(1, 200)
    ]
    sock.send([rule.put(one) for one in many])

    needles = tuple(ip_address(one).packed for one in ("10.1.0.77", "10.1.0.99", "fd00::1"))
    assert sock.query(rule.all_rules(None, needles=needles)) == [many[76], many[98]]


@pytest.mark.parametrize("text", ["169.254.1.1", "fe80::1"])
def test_a_neighbour_is_added_changed_and_removed(sock, oracle, ifindex, text):
    first, second = (
        Neighbour(link=name_of(ifindex), address=ip_address(text), mac=MacAddress(mac))
        for mac in ("02:00:00:00:00:07", "02:00:00:00:00:08")
    )
    family = Family.V4 if first.address.version == 4 else Family.V6
    query = neighbour.all_neighbours(family, name_of, ifindex=ifindex)

    sock.send([neighbour.put(first, ifindex), neighbour.put(second, ifindex)])

    assert sock.query(query) == [second]
    [seen] = [one for one in oracle.get_neighbours() if one.get("dst") == text]
    assert (seen.get("lladdr"), seen["state"]) == (second.mac, 0x80)
    sock.send([neighbour.remove(second, ifindex)] * 2)
    assert sock.query(query) == []


def test_clsact_is_added_once_and_removed_once(sock, oracle, ifindex):
    sock.send([traffic.put_clsact(ifindex)] * 2)
    assert [one.get("kind") for one in oracle.get_qdiscs(ifindex)].count("clsact") == 1

    sock.send([traffic.remove_clsact(ifindex)] * 2)
    assert "clsact" not in [one.get("kind") for one in oracle.get_qdiscs(ifindex)]


def test_a_group_of_links_is_deleted_at_once(sock, ifindex):
    sock.send([link.create_veth(LinkSettings(name="c"), LinkSettings(name="d"))])
    sock.send([link.set_group(name, 99) for name in ("a", "c", "nobody")])

    sock.send([link.delete_group(99)] * 2)

    assert [one.name for one in sock.query(link.all_links())] == ["lo"]


def test_the_first_failure_of_a_batch_is_named_with_the_kernels_explanation(sock, ifindex):
    bad = make_route({"destination": "10.9.0.0/16", "gateway": "8.8.8.8"}, ifindex)

    with pytest.raises(ConflictError, match=r"10\.9\.0\.0/16.*invalid gateway") as caught:
        sock.send([link.change(A), route.put(bad, ifindex), link.create_veth(A, B)])

    assert caught.value.code == "ENETUNREACH"


def test_a_batch_larger_than_the_sockets_buffer_is_carried_out_whole(sock, ifindex):
    wanted = [
        make_route({"destination": f"10.{n // 250}.{n % 250}.0/24", "scope": Scope.LINK}, ifindex)
        for n in range(1000)
    ]

    sock.send([route.put(one, ifindex) for one in wanted])

    assert set(sock.query(route.all_routes(Family.V4, name_of))) == set(wanted)


def test_what_does_not_exist_is_no_answer(sock):
    assert sock.first(link.by_name("nobody")) is None
    assert sock.first(link.by_index(4711)) is None
    assert sock.query(route.all_routes(Family.V4, name_of, table=4711)) == []
    assert sock.first(route.lookup(ip_address("192.0.2.1"), name_of)) is None
