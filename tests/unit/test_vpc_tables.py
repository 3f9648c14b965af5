"""A `VpcState` as map contents: addresses, routes, rule lists, and the numbers in them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from terway.lab.vpc.contract import (
    ADDRESS_KEY,
    OWNER,
    PORT,
    ROUTE,
    ROUTE_KEY,
    RULE,
    RULE_LIST,
    SERVICES_MAC,
    DropReason,
    OwnerKind,
    pack_u32,
)
from terway.lab.vpc.counters import PortCounters, add_counters
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.rules import compile_rules
from terway.lab.vpc.state import Direction, RouteEntry, VpcState
from terway.lab.vpc.tables import Tables, Wiring, compile_tables
from terway.model.errors import UsageError
from tests.support.instances import (
    NODES,
    OPEN,
    PODS,
    VPC,
    allow,
    group,
    port,
    vpc_state,
    with_groups,
)

A, B = port(10), port(11, vswitch=PODS)
SERVICES = 9


def compiled(state: VpcState, *, numbers: Numbers | None = None, plugged=(A, B)) -> Tables:
    wiring = Wiring(
        ports={one.eni_id: n for n, one in enumerate(plugged, 2)},
        services=SERVICES,
        services_mac=SERVICES_MAC,
        services_mtu_bytes=1500,
    )
    return compile_tables(state, wiring, (numbers or Numbers()).after(state))


def owners(tables: Tables) -> dict[str, tuple[OwnerKind, int]]:
    found = {}
    for key, value in tables.addresses.items():
        fields, owner = ADDRESS_KEY.unpack(key), OWNER.integers(value)
        packed = fields["address"]
        assert isinstance(packed, bytes)
        if fields["family"] == 4:
            found[str(IPv4Address(packed[:4]))] = (OwnerKind(owner["kind"]), owner["port"])
    return found


def routes(tables: Tables) -> dict[tuple[int, int], int]:
    """Return (family, prefix length) to port."""
    found = {}
    for key, value in tables.routes.items():
        fields = ROUTE_KEY.integers(key)
        found[fields["family"], fields["prefixlen"] - 64] = ROUTE.integers(value)["port"]
    return found


def listed(tables: Tables, port_key: bytes, direction: str) -> dict[str, int]:
    key = PORT.integers(tables.ports[port_key])[f"{direction}_rules"]
    return RULE_LIST.integers(tables.rule_lists[key.to_bytes(8, "little")])


def test_ports_gateways_and_services_own_their_addresses():
    state = replace(vpc_state(A, B), services=(IPv4Address("100.100.100.200"),))

    assert owners(compiled(state)) == {
        "192.168.0.10": (OwnerKind.PORT, 2),
        "192.168.32.11": (OwnerKind.PORT, 3),
        "192.168.31.253": (OwnerKind.GATEWAY, 0),
        "192.168.63.253": (OwnerKind.GATEWAY, 0),
        "100.100.100.200": (OwnerKind.SERVICES, SERVICES),
    }


def test_the_order_of_ports_groups_and_addresses_does_not_matter():
    other = group("sg-other", allow("10.0.0.0/8"))
    a = with_groups(A, OPEN, other)
    turned = replace(a, security_group_ids=a.security_group_ids[::-1])

    assert compiled(vpc_state(a, B, groups=(OPEN, other))) == compiled(
        vpc_state(B, turned, groups=(other, OPEN))
    )


def test_a_port_without_a_link_has_no_addresses():
    assert "192.168.32.11" not in owners(compiled(vpc_state(A, B), plugged=(A,)))


def test_vswitch_ranges_lead_nowhere_and_custom_routes_to_their_next_hop():
    route = RouteEntry(vpc_id=VPC, destination=IPv4Network("10.0.0.0/8"), next_hop=B.eni_id)
    state = replace(vpc_state(A, B, vswitches=(NODES, PODS)), routes=(route,))

    assert routes(compiled(state)) == {(4, 19): 0, (6, 64): 0, (4, 8): 3}


def test_a_vswitch_wins_over_a_custom_route_to_its_range():
    route = RouteEntry(vpc_id=VPC, destination=PODS.cidr, next_hop=B.eni_id)

    assert routes(compiled(replace(vpc_state(A, B), routes=(route,))))[4, 19] == 0


def test_a_next_hop_without_a_link_is_no_way_out():
    route = RouteEntry(vpc_id=VPC, destination=IPv4Network("10.0.0.0/8"), next_hop=B.eni_id)
    state = replace(vpc_state(A, B), routes=(route,))

    assert routes(compiled(state, plugged=(A,)))[4, 8] == 0


def test_enis_with_the_same_groups_share_their_lists():
    other = port(12)

    assert len(compiled(vpc_state(A, B, other), plugged=(A, B, other)).rule_lists) == 2


def test_without_rules_ingress_is_dropped_and_egress_accepted_unless_the_group_is_enterprise():
    basic, enterprise = group("sg-b"), replace(group("sg-e"), is_enterprise=True)
    state = vpc_state(with_groups(A, basic), with_groups(B, enterprise), groups=(basic, enterprise))
    tables = compiled(state)

    accepts = {
        (key, direction): listed(tables, pack_u32(key), direction)["default_accept"]
        for key in (2, 3)
        for direction in ("ingress", "egress")
    }
    assert accepts == {(2, "ingress"): 0, (2, "egress"): 1, (3, "ingress"): 0, (3, "egress"): 0}


def rule_fields(*rules) -> list[dict[str, int]]:
    one = group("sg", *rules, inner_access=False)
    state = vpc_state(groups=(one,))
    value = compile_rules([one], Direction.INGRESS, Numbers().after(state)).value
    count = RULE_LIST.integers(value)["count"]
    return [RULE.integers(value[8 + i * RULE.size :][: RULE.size]) for i in range(count)]


def test_rules_are_ordered_by_priority_and_drop_comes_first_at_the_same():
    everywhere = "0.0.0.0/0"
    found = rule_fields(
        allow(everywhere, priority=2, protocol=1),
        allow(everywhere, priority=1, protocol=2),
        allow(everywhere, priority=2, protocol=3, accept=False),
    )

    assert [one["selector"] & 0xFF for one in found] == [2, 3, 1]


def test_a_port_range_is_its_first_port_and_a_span():
    (found,) = rule_fields(allow("0.0.0.0/0", protocol=6, ports=(80, 89)))

    assert (found["first_port"], found["port_span"]) == (80, 9)


@pytest.mark.parametrize("rule", [{"ports": (1, 2)}, {"protocol": 1, "ports": (1, 2)}])
def test_ports_without_a_protocol_that_has_ports_are_refused(rule):
    with pytest.raises(UsageError, match="ports need TCP"):
        rule_fields(allow("0.0.0.0/0", **rule))


def test_more_rules_than_fit_are_refused_by_name():
    many = group("sg-many", *[allow("10.0.0.0/8")] * 1025)

    with pytest.raises(UsageError, match="sg-many have 1026 ingress rules"):
        compiled(vpc_state(with_groups(A, many), groups=(many,)))


def epoch(tables: Tables) -> int:
    return PORT.integers(tables.ports[pack_u32(2)])["epoch"]


def test_the_epoch_of_a_port_moves_with_its_rules_and_with_members_of_groups_they_name():
    clients, server = group("sg-clients"), group("sg-s", allow(group("sg-clients")))
    groups = (clients, server, OPEN)
    a = with_groups(A, server)
    before = epoch(compiled(vpc_state(a, with_groups(B, clients), groups=groups)))

    joined = vpc_state(a, with_groups(B, clients, OPEN), groups=groups)
    left = vpc_state(a, with_groups(B, OPEN), groups=groups)
    isolated = (clients, replace(server, inner_access=False), OPEN)
    ruled = vpc_state(a, with_groups(B, clients), groups=isolated)

    assert epoch(compiled(joined)) == before
    assert epoch(compiled(left)) != before
    assert epoch(compiled(ruled)) != before


def test_a_group_keeps_its_bit_while_others_come_and_go():
    names = [group(f"sg-{n}") for n in range(4)]
    first = Numbers().after(vpc_state(groups=tuple(names[:3])))

    second = first.after(vpc_state(groups=(names[0], names[2], names[3])))

    assert [second.group(names[n].id) for n in (0, 2)] == [first.group(names[n].id) for n in (0, 2)]
    assert second.group(names[3].id) not in first.groups.values()


def test_more_groups_than_bits_are_refused():
    groups = tuple(group(f"sg-{n}") for n in range(256))

    with pytest.raises(UsageError, match="256 security groups"):
        Numbers().after(vpc_state(groups=groups))


def test_counters_are_the_sum_over_cpus_and_name_only_what_happened():
    value = bytearray(8 * (5 + len(DropReason)))
    value[0], value[8], value[8 * (5 + DropReason.VLAN)] = 1, 60, 2

    assert add_counters([bytes(value)] * 2) == PortCounters(
        egress_packets=2, egress_bytes=120, drops={DropReason.VLAN: 4}
    )
