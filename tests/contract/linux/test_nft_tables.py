"""The policy table in the kernel: all or nothing, read back as it was sent, and nobody else's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from terway.linux.nfnetlink.tables import NftSocket, open_nft_socket
from terway.model.address import Family
from terway.model.errors import ConflictError, TransientError
from terway.model.nft import (
    AddChain,
    AddRule,
    AddTable,
    Chain,
    DeleteChain,
    DeleteSet,
)
from terway.model.nft_rule import Foreign
from terway.policy.cluster import PodKey
from terway.policy.compiled import ClassId, Compiled, Net, RuleSet, RuleSetId, Sides
from terway.policy.nft.answers import on_paper
from terway.policy.nft.lift import lift
from terway.policy.nft.names import TABLE
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import FlowLog, Options, Place
from terway.policy.nft.verify import verify
from terway.policy.policies import Direction
from terway.policy.ports import EVERY_PORT, NOTHING, PortSet
from tests.support.netns import ScratchNetns

pytestmark = pytest.mark.root

WEB, DB, API = (PodKey(namespace="shop", name=name) for name in ("web", "db", "api"))
HOOKS = {WEB: "cali1", DB: "cali2", API: "cali3"}
HTTP = PortSet(tcp=((80, 80),))
WISH = Compiled(
    hosts={
        ip_address("10.0.0.1"): ClassId(1),
        ip_address("10.0.0.2"): ClassId(2),
        ip_address("fd00::1"): ClassId(1),
    },
    nets=(
        Net(
            family=Family.V4,
            first=int(ip_address("10.1.0.0")),
            last=int(ip_address("10.1.255.255")),
            class_id=ClassId(3),
        ),
        Net(
            family=Family.V6,
            first=int(ip_address("fd01::")),
            last=(1 << 128) - 1,
            class_id=ClassId(3),
        ),
    ),
    rule_sets={
        RuleSetId(1): RuleSet(
            direction=Direction.INGRESS,
            default=NOTHING,
            verdicts={
                ClassId(1): EVERY_PORT,
                ClassId(2): HTTP,
                ClassId(3): PortSet(tcp=((1, 1023),), udp=((0, 65535),), other=True),
            },
        ),
        RuleSetId(2): RuleSet(
            direction=Direction.EGRESS,
            default=PortSet(sctp=((7, 9),)),
            verdicts={ClassId(2): NOTHING},
        ),
        RuleSetId(3): RuleSet(
            direction=Direction.INGRESS, default=EVERY_PORT, verdicts={ClassId(2): HTTP}
        ),
    },
    sides={
        WEB: Sides(ingress=RuleSetId(1), egress=RuleSetId(2)),
        DB: Sides(egress=RuleSetId(2), own_node=RuleSetId(2)),
        API: Sides(ingress=RuleSetId(1), egress=RuleSetId(2), itself=RuleSetId(3)),
    },
)


@pytest.fixture
def sock(netns: ScratchNetns) -> Iterator[NftSocket]:
    with open_nft_socket() as opened:
        yield opened


def enforce(sock: NftSocket, options: Options | None = None, share_from: int = 256) -> Printer:
    printer = Printer(Place.NODE, options, share_from=share_from)
    sock.change(TABLE, printer.adopt(WISH, HOOKS, sock.read(TABLE)))
    return printer


def differences(sock: NftSocket) -> list[str]:
    lifted = lift(Place.NODE, sock.read(TABLE))
    return [str(one) for one in verify(Place.NODE, WISH, HOOKS, lifted)]


def nft(command: str) -> str:
    done = subprocess.run(
        ["nft", *command.split(" ", 1)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("share_from", [1, 256])
@pytest.mark.parametrize(
    "options",
    [Options(), Options(is_rejecting=True, flow_log=FlowLog(group=7, one_in=10))],
    ids=["quiet", "telling"],
)
def test_what_is_read_back_is_what_was_sent_and_says_what_was_wished(sock, options, share_from):
    printer = Printer(Place.NODE, options, share_from=share_from)
    transactions = printer.adopt(WISH, HOOKS, None)
    sock.change(TABLE, transactions)

    assert sock.read(TABLE) == on_paper(transactions)
    assert differences(sock) == []
    assert lift(Place.NODE, sock.read(TABLE)).options == options


def test_nft_prints_the_table_in_words(sock):
    enforce(sock)

    printed = nft("list ruleset")

    assert "iifname vmap @egress" in printed
    assert '"cali1" : jump ingress_cali1' in printed
    assert 'iifname "cali3" oifname "cali3" goto ingress3' in printed
    assert "10.0.0.2 : goto tcp80" in printed
    assert "10.1.0.0/16 : goto tcp1-1023_udp_other" in printed
    assert "meta l4proto . th dport @tcp80 return" in printed


def test_a_process_that_follows_another_takes_the_table_over(sock):
    """However often: what was before is gone, and only numbers differ."""
    enforce(sock)
    first = sock.read(TABLE)
    for _ in range(3):
        enforce(sock)
        assert differences(sock) == []

    last = sock.read(TABLE)
    assert first is not None
    assert last is not None
    assert {name.partition(".")[0] for name in last.chains} == set(first.chains)
    assert len(last.sets) == len(first.sets)


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        f"flush chain inet {TABLE} forward",
        f"delete table inet {TABLE} ; add table inet {TABLE} ; add chain inet {TABLE} forward",
        f"add chain inet {TABLE} mine {{ type filter hook input priority 5 ; policy drop ; }}",
        f"add set inet {TABLE} mine {{ type mark ; timeout 3s ; }}",
    ],
)
def test_a_damaged_table_is_made_whole(sock, damage):
    enforce(sock)
    for command in damage.split(" ; add"):
        nft(command if command.startswith(("flush", "delete", "add")) else f"add{command}")
    assert differences(sock) != []

    enforce(sock)

    assert differences(sock) == []


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (
            f"delete element inet {TABLE} ingress1_hosts4 {{ 10.0.0.2 : goto tcp80 }}",
            "ingress of shop/web: 10.0.0.2 TCP 80 is denied by the kernel and allowed by policy",
        ),
        (
            f"add element inet {TABLE} ingress1_hosts4 {{ 10.0.0.5 : goto tcp80 }}",
            "ingress of shop/web: 10.0.0.5 TCP 80 is allowed by the kernel and denied by policy",
        ),
        (
            f"add element inet {TABLE} egress2_hosts6 {{ fd01::5 : return }}",
            "egress of shop/web: fd01::5 every TCP port is allowed by the kernel and denied by",
        ),
        (
            f"delete element inet {TABLE} ingress {{ cali1 : jump ingress_cali1 }}",
            "ingress of shop/web is free in the kernel, and policy judges it",
        ),
        (
            f"add element inet {TABLE} egress {{ cali9 : jump egress2 }}",
            "interface cali9 is judged, and no pod of ours is there",
        ),
        (
            f"delete element inet {TABLE} itself {{ cali1 . cali1 }}",
            "egress to itself by way of a service of shop/web is judged in the kernel, and policy",
        ),
        (
            f"add element inet {TABLE} itself {{ cali3 . cali3 }}",
            "ingress from itself by way of a service of shop/api is free in the kernel, and policy",
        ),
        (f"flush chain inet {TABLE} egress_cali3", "table: chain egress_cali3: 0 rules, 1 were "),
        (f"insert rule inet {TABLE} forward accept", "table: chain forward: rule 1 of 6 is not "),
        (f"add rule inet {TABLE} log_denied accept", "table: chain log_denied: 1 rules, 0 were "),
        (f"flush chain inet {TABLE} tcp80", "table: chain tcp80: 0 rules, 3 were printed"),
        (f"flush chain inet {TABLE} input", "table: chain input: 0 rules, 6 were printed"),
        (f"add chain inet {TABLE} mine", "table: chain mine is more than there should be"),
        (f"add set inet {TABLE} mine {{ type mark ; }}", "table: set mine is more than there "),
        (f"delete table inet {TABLE}", "table: there is no table of ours"),
        (f"add table inet {TABLE} {{ flags dormant ; }}", "table: the table is switched off"),
        (
            f"add element inet {TABLE} ingress1_hosts4 {{ * : return }}",
            "table: set ingress1_hosts4 is not made as ours is",
        ),
    ],
)
def test_what_somebody_else_did_is_told_by_name(sock, deed, told):
    enforce(sock)

    nft(deed)

    assert any(one.startswith(told) for one in differences(sock)), differences(sock)


def test_other_peoples_tables_stay_as_they_are(sock):
    nft("add table inet theirs")
    nft("add chain inet theirs forward { type filter hook forward priority 0 ; policy accept ; }")
    nft("add set inet theirs some { type ipv4_addr ; elements = { 10.0.0.1 } ; }")
    nft("add rule inet theirs forward ip saddr @some counter drop")
    nft(f"add table ip {TABLE}")
    before = nft("-a list table inet theirs"), nft(f"-a list table ip {TABLE}")

    for _ in range(2):
        enforce(sock)
        assert differences(sock) == []

    assert (nft("-a list table inet theirs"), nft(f"-a list table ip {TABLE}")) == before


def test_a_refused_transaction_changes_nothing_and_names_what_was_refused(sock):
    """bug class 54: no refusal of the kernel is passed over"""
    enforce(sock)
    before = sock.read(TABLE)

    with pytest.raises(ConflictError, match="delete set terway_policy missing: ENOENT"):
        sock.apply(TABLE, (AddChain("new"), DeleteSet("missing"), DeleteChain("missing")))
    with pytest.raises(TransientError, match="delete chain terway_policy deny: EBUSY"):
        sock.apply(TABLE, (AddChain("new"), DeleteChain("deny")))

    assert sock.read(TABLE) == before


def test_more_refusals_than_fit_are_told_by_the_first(sock):
    sock.apply(TABLE, (AddTable(),))

    with pytest.raises(ConflictError, match="delete set terway_policy first: ENOENT"):
        sock.apply(TABLE, (DeleteSet("first"), *[DeleteSet("second")] * 20_000))


def test_what_a_later_nft_makes_is_read_as_foreign_and_not_as_what_it_resembles(sock):
    sock.apply(TABLE, (AddTable(), AddChain("one"), AddChain("two")))
    sock.apply(TABLE, (AddRule("one", ()),))
    nft(f"add rule inet {TABLE} two ct original protocol tcp counter ip daddr 10.0.0.0/8 accept")

    table = sock.read(TABLE)

    assert table is not None
    assert isinstance(table.chains["two"].rules[0][0], Foreign)
    assert table.chains["one"] == Chain(rules=((),))


def test_logging_begins_and_ends_without_touching_anything_else(sock):
    printer = enforce(sock)
    before = sock.read(TABLE)

    sock.change(TABLE, printer.log(FlowLog(group=3, rate_per_s=50)))
    assert "ct state new limit rate 50/second" in nft(f"list chain inet {TABLE} log_allowed")
    assert differences(sock) == []
    sock.change(TABLE, printer.log(None))

    assert sock.read(TABLE) == before


def test_ten_thousand_hosts_go_in_one_transaction(sock):
    hosts = {ip_address((10 << 24) + number): ClassId(1) for number in range(10_000)}
    number = RuleSetId(1)
    rule_set = RuleSet(direction=Direction.INGRESS, default=NOTHING, verdicts={ClassId(1): HTTP})
    wish = Compiled(hosts=hosts, rule_sets={number: rule_set}, sides={WEB: Sides(ingress=number)})
    printer = Printer(Place.NODE, share_from=1 << 30)
    transactions = printer.adopt(wish, HOOKS, None)

    sock.apply(TABLE, (*transactions.make, *transactions.switch))

    assert verify(Place.NODE, wish, HOOKS, lift(Place.NODE, sock.read(TABLE))) == ()
