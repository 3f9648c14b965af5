"""What show, mapping and doctor say of a snapshot, in 80 columns."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from terway.cli.doctor import doctor_lines, examine, found_twice, has_doubts
from terway.cli.finding import Severity, command_of
from terway.cli.mapping import mapping_lines, mapping_of
from terway.cli.show import show_lines
from terway.cli.snapshot import HostView, Missing, Snapshot
from terway.cli.table import WIDTH, shorten, table_lines
from terway.cloud.inspect import Permission
from terway.model.address import Family
from terway.model.interface import Bandwidth
from terway.model.network import NODE, LinkAddress, Remove, RoutingRule
from tests.support.snapshots import ENI_ID, NEAR, A, from_pod, healthy, host_name, link

HOST = HostView(
    kernel_release="6.1",
    features={"veth": "yes"},
    files=("/opt/cni/bin/terway", "/etc/cni/net.d/10-terway.conflist"),
)


def with_host(**changes: object) -> Snapshot:
    return replace(healthy(), host=replace(HOST, **changes))  # type: ignore[arg-type]


def whats(snapshot: Snapshot) -> list[str]:
    return [one.what for one in examine(snapshot)]


def test_all_four_agree_about_a_healthy_node() -> None:
    rows = mapping_of(healthy())

    assert {(one.address, one.journal, one.kubernetes) for one in rows} == {
        (A, "default/a", "default/a"),
        (NEAR, "default/near", "default/near"),
    }
    assert [one.differences for one in rows] == [(), ()]


def test_an_address_that_the_cloud_lacks_is_a_difference() -> None:
    there = healthy()
    assert there.cloud is not None
    taken = replace(there.cloud, enis=(replace(there.cloud.enis[0], ipv4=(NEAR,)),))

    row = mapping_of(replace(there, cloud=taken))[0]

    assert row.address == A
    assert row.differences == (
        f"the journal has it on {ENI_ID}, the cloud does not have it on this instance",
    )


def test_a_source_that_is_silent_is_no_difference() -> None:
    there = healthy()
    for source in ("cloud", "journal", "kernel", "kubernetes"):
        rows = mapping_of(replace(there, **{source: None}))  # type: ignore[arg-type]
        assert [one for one in rows if one.differences] == []


def test_a_healthy_node_has_no_finding() -> None:
    assert whats(with_host()) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"features": {"veth": "EPERM"}}, "the kernel lacks veth"),
        ({"files": ()}, "/opt/cni/bin/terway is missing"),
        (
            {"files": (*HOST.files, "/etc/cni/net.d/05-other.conf")},
            "another CNI configuration comes first",
        ),
        ({"clock_skew_s": {"OpenAPI": 1000.0}}, "this clock is 1000 s ahead of OpenAPI"),
        ({"clock_skew_s": {"OpenAPI": -40.0}}, "this clock is 40 s behind OpenAPI"),
        ({"path_mtu_bytes": {"IPv4 by eth0": 1400}}, "IPv4 by eth0: large packets are lost"),
        ({"programs": ("NetworkManager",)}, "NetworkManager manages pods' links"),
        ({"programs": ("systemd-network",)}, "systemd-networkd removes foreign rules"),
        ({"programs": ("calico-node",)}, "calico-node runs beside Terway"),
        (
            {"files": (*HOST.files, "/var/lib/cni/terway/ResRelation.db")},
            "/var/lib/cni/terway/ResRelation.db",
        ),
        (
            {"permissions": (Permission(action="X", is_allowed=False, answer="Forbidden.RAM"),)},
            "the RAM role lacks permissions",
        ),
    ],
)
def test_doctor_finds_what_is_wrong_around_a_node(changes: dict[str, object], what: str) -> None:
    assert what in whats(with_host(**changes))


def test_a_rule_of_nobody_is_found_and_its_removal_is_safe() -> None:
    there = healthy()
    assert there.journal is not None
    forgotten = tuple(one for one in there.journal.attachments if one.lease.addresses.v4 != A)
    orphan = replace(there, journal=replace(there.journal, attachments=forgotten))

    fixes = [one for found in examine(orphan) for one in found.fix]

    assert Remove(netns=NODE, object=from_pod(A)) in fixes


def test_a_link_of_somebody_else_is_never_deleted_by_fix() -> None:
    there = healthy()
    assert there.kernel is not None
    stranger = link("cali0123456789a", 99, kind="veth")
    node = replace(there.kernel.node, links=(*there.kernel.node.links, stranger))

    (found,) = examine(replace(there, kernel=replace(there.kernel, node=node)))

    assert (found.severity, found.fix) == (Severity.WARNING, ())
    assert found.command == "ip link delete cali0123456789a"


def test_terwayd_that_is_down_is_an_error_and_hides_nothing() -> None:
    missing = (Missing(source="agent", reason="refused"),)
    down = replace(healthy(), agent=None, missing=missing)

    assert whats(down) == ["terwayd is down"]
    assert any("default/near" in line for line in show_lines(down))


def test_a_host_that_is_not_the_node_that_is_named_says_so() -> None:
    there = healthy()
    assert there.kernel is not None
    own = (LinkAddress(link="eth0", address=ip_interface("10.0.0.7/24")),)
    elsewhere = replace(there.kernel, node=replace(there.kernel.node, addresses=own))

    lines = show_lines(replace(there, kernel=elsewhere))

    assert lines[0].startswith("node       node-1 ")
    assert lines[1].strip() == (
        "this host is not it: it has no address of the node's (192.168.0.1)"
    )


def test_a_host_with_nodes_in_it_is_none_of_them_and_names_them() -> None:
    host = Snapshot(taken_at="now", node_name="vm", version="1", guests=("node-1", "node-2"))

    lines = [one.strip() for one in show_lines(host)]

    assert lines[1] == "this host is no node. Nodes run within it: node-1, node-2"
    assert lines[2] == "ask one: terway-lab run node-1 terway-cli show"


def test_a_node_says_nothing_of_that() -> None:
    assert not any("this host" in line for line in show_lines(healthy()))


def test_bandwidth_is_shown_with_its_unit() -> None:
    there = healthy()
    assert there.journal is not None
    first, *others = there.journal.attachments
    limited = replace(first, spec=replace(first.spec, bandwidth=Bandwidth(ingress=125_000)))
    journal = replace(there.journal, attachments=(limited, *others))

    lines = show_lines(replace(there, journal=journal))

    assert any(line.endswith("IN/OUT BIT/S") for line in lines)
    assert any(line.endswith(" 1M/-") for line in lines)


def test_everything_fits_80_columns() -> None:
    there = with_host(programs=("NetworkManager",), files=())
    texts = [
        *show_lines(there),
        *mapping_lines(mapping_of(there), there),
        *doctor_lines(examine(there)),
    ]

    assert [one for one in texts if len(one) > WIDTH] == []
    assert any(host_name("a") in one for one in texts)


def test_a_table_gives_way_in_its_widest_column() -> None:
    lines = table_lines(("NAME", "TEXT"), [("a", "x" * 100)], width=20)

    assert [len(one) for one in lines] == [10, 20]
    assert shorten("0123456789", 5) == "01…89"


def test_a_command_can_be_pasted() -> None:
    rule = RoutingRule(family=Family.V4, priority=2048, table=1003, source=from_pod(A).source)

    words = command_of(Remove(netns=NODE, object=rule))

    assert words == f"ip rule delete from {A}/32 priority 2048 lookup 1003"


def test_doctor_tells_of_addresses_only_what_it_finds_twice() -> None:
    there = healthy()
    assert there.cloud is not None
    lacks = replace(
        there, cloud=replace(there.cloud, enis=(replace(there.cloud.enis[0], ipv4=()),))
    )
    lacks_one = replace(
        there, cloud=replace(there.cloud, enis=(replace(there.cloud.enis[0], ipv4=(NEAR,)),))
    )
    found = examine(lacks)
    others = [one for one in found if "not the same everywhere" not in one.what]

    assert has_doubts(lacks)
    assert not has_doubts(there)
    assert found_twice(found, lacks, there) == tuple(others)
    assert found_twice(found, lacks, lacks) == found
    assert [one.what for one in found_twice(found, lacks, lacks_one) if one not in others] == [
        f"{A}: not the same everywhere"
    ]
    assert found_twice(examine(there), there, lacks) == examine(there)
