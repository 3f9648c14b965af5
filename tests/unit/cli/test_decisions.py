"""Routing and security group decisions, packets told apart, and a matrix reported."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from terway.cli.app import COMMANDS, cli
from terway.cli.correlate import correlate
from terway.cli.fib import decide
from terway.cli.frames import Filter, Frame, flow_of, pcap, same_packet
from terway.cli.groups import judge
from terway.cli.matrix_plan import Outcome, junit, matrix_lines
from terway.cli.metrics import samples_of
from terway.cli.place import place_of
from terway.cli.read_node import REDACTED, redact
from terway.cli.target import split_port
from terway.cloud.inspect import GroupRule, SecurityGroup
from terway.model.address import Family
from terway.model.errors import UsageError
from terway.model.ids import SecurityGroupId
from terway.model.network import RoutingRule
from tests.support.snapshots import FAR, NEAR, A, host_name, node_seen

SECOND = 1_000_000_000


def rule(**changes: object) -> GroupRule:
    fields: dict[str, object] = {
        "is_ingress": True,
        "protocol": "tcp",
        "first_port": 80,
        "last_port": 80,
        "is_accept": True,
        "priority": 1,
        "peer": ip_network("0.0.0.0/0"),
    }
    return GroupRule(**{**fields, **changes})  # type: ignore[arg-type]


def group(*rules: GroupRule, is_inner_open: bool = False) -> SecurityGroup:
    return SecurityGroup(id=SecurityGroupId("sg"), is_inner_open=is_inner_open, rules=rules)


def passes(*groups: SecurityGroup, port: int | None = 80, is_ingress: bool = True) -> bool:
    return judge(
        groups, is_ingress=is_ingress, protocol="tcp", port=port, peer=FAR, peer_groups=("sg",)
    ).is_accepted


def packet(*, ttl: int = 64, port: int = 80, payload: bytes = b"x") -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 1234, port, 1, 0, 5 << 4, 2, 100, 0xBEEF, 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, ttl, 6, 0, A.packed, FAR.packed
    )
    return bytes(12) + b"\x08\x00" + head + tcp


def test_a_rule_of_higher_priority_is_asked_first() -> None:
    node = node_seen()

    from_pod = decide(node, FAR, source=A, iif=host_name("a")).route
    own = decide(node, FAR).route
    to_pod = decide(node, NEAR, source=A, iif=host_name("a")).route

    assert from_pod is not None
    assert (from_pod.table, from_pod.link) == (1003, "eth1")
    assert own is not None
    assert own.link == "eth0"
    assert to_pod is not None
    assert to_pod.link == host_name("near")


def test_without_a_route_there_is_no_decision() -> None:
    assert decide(node_seen(), ip_address("2001:db8::1")).kind == "none"


def test_a_rule_that_prohibits_ends_the_search() -> None:
    metadata = ip_address("100.100.100.200")
    closing = RoutingRule(
        family=Family.V4,
        priority=1024,
        table=0,
        source=ip_network(A),
        destination=ip_network(metadata),
        is_prohibit=True,
    )
    seen = node_seen()

    chosen = decide(
        replace(seen, rules=(*seen.rules, closing)), metadata, source=A, iif=host_name("a")
    )

    assert (chosen.kind, str(chosen)) == ("none", "rule 1024 prohibits it")


def test_basic_groups_let_out_and_do_not_let_in() -> None:
    assert not passes(group())
    assert passes(group(), is_ingress=False)


def test_members_of_an_open_group_reach_each_other_whatever_the_rules_say() -> None:
    assert passes(group(rule(is_accept=False), is_inner_open=True))


def test_a_drop_goes_before_an_accept_of_the_same_priority() -> None:
    assert passes(group(rule()))
    assert not passes(group(rule(), rule(is_accept=False)))
    assert passes(group(rule(), rule(is_accept=False, priority=2)))


def test_a_rule_for_other_ports_does_not_match() -> None:
    assert not passes(group(rule()), port=81)
    assert not passes(group(rule()), port=None)
    assert passes(group(rule(first_port=1, last_port=65535)), port=None)


def test_a_packet_is_the_same_after_a_router() -> None:
    assert same_packet(packet(ttl=64)) == same_packet(packet(ttl=62))
    assert same_packet(packet(payload=b"x")) != same_packet(packet(payload=b"y"))


def test_a_packet_that_does_not_come_out_is_lost_and_the_others_have_a_latency() -> None:
    inner = [
        Frame(at_ns=0, data=packet(port=1)),
        Frame(at_ns=10, data=packet(port=2)),
        Frame(at_ns=SECOND, data=packet(port=3)),
    ]
    outer = [
        Frame(at_ns=500, data=packet(port=1, ttl=63)),
        Frame(at_ns=SECOND + 700, data=packet(port=3, ttl=63)),
    ]

    assert [one.latency_ns for one in correlate(inner, outer)] == [500, None, 700]


def test_a_filter_takes_what_it_asks_for_only() -> None:
    frame = Frame(at_ns=0, data=packet())

    assert Filter(host=A, port=80, protocol="tcp").accepts(frame)
    assert not Filter(port=81).accepts(frame)
    assert not Filter(host=IPv4Address("192.0.2.1")).accepts(frame)
    assert Filter().accepts(Frame(at_ns=0, data=b"anything"))
    assert flow_of(b"short") is None


def test_a_pcap_file_has_its_header_and_each_frame() -> None:
    written = pcap([Frame(at_ns=SECOND + 5, data=b"abc")])

    assert struct.unpack("=I", written[:4]) == (0xA1B23C4D,)
    assert struct.unpack("=IIII", written[24:40]) == (1, 5, 3, 3)
    assert written[40:] == b"abc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("web", ("web", None)),
        ("default/web:8080", ("default/web", 8080)),
    ],
)
def test_a_port_is_told_from_an_address(text: str, expected: tuple[str, int | None]) -> None:
    assert split_port(text) == expected


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a number"):
        split_port("web:http")


def test_secrets_are_left_out_and_what_cannot_be_read_is_left_out_whole() -> None:
    text = json.dumps({"access_key": "id", "access_secret": "s", "min_pool_size": 1})

    assert json.loads(redact(text)) == {
        "access_key": REDACTED,
        "access_secret": REDACTED,
        "min_pool_size": 1,
    }
    assert redact('{"access_secret": "s"') == REDACTED
    assert redact("true") == "true"


def test_the_environment_says_where_things_are(tmp_path) -> None:
    place = place_of({"NODE_NAME": "n", "ECS_ENDPOINT": "http://e"}, root=tmp_path)

    assert (place.node_name, place.ecs_endpoint) == ("n", "http://e")
    assert place.journal == tmp_path / "var/lib/cni/terway/terway.db"
    assert place.access_key is None


def test_a_matrix_is_told_as_a_table_and_as_junit() -> None:
    found = [
        Outcome(source="pod on n1", to="pod on n2", what="tcp", host="192.0.2.1", elapsed_ms=1.0),
        Outcome(source="pod on n1", to="pod on n2", what="MTU", host="::1", error="no <answer>"),
        Outcome(source="every pod", to="DNS", what="tcp", skipped="none"),
    ]

    lines = matrix_lines(found)
    suite = ElementTree.fromstring(junit(found))

    assert lines[1].split()[-2:] == ["1.0", "FAIL"]
    assert lines[-1] == "1 paths work, 1 fail, 1 skipped"
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")


def test_buckets_are_left_out_of_the_figures() -> None:
    text = '# HELP a\na_bucket{le="1"} 3\na_count 3\nb 1\n'

    assert samples_of(text) == {"a_count": "3", "b": "1"}
    assert samples_of(text, "b") == {"b": "1"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself_and_speaks_json(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])

    assert result.exit_code == 0
    assert name == "completion" or "--json" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])

    assert result.exit_code == 0
    assert "terway-cli" in result.output


def test_a_bundle_that_is_none_is_wrong_use(tmp_path) -> None:
    (tmp_path / "b").write_text("x")

    result = CliRunner().invoke(cli, ["show", "--bundle", str(tmp_path / "b")])

    assert result.exit_code == 2


def test_figures_of_a_terwayd_that_is_down_cannot_be_reached(tmp_path) -> None:
    result = CliRunner().invoke(cli, ["metrics", "--root", str(tmp_path)])

    assert result.exit_code == 3
