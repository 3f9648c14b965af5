"""A node's tables of nftables, in the real kernel: made, changed, read back, removed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from terway.agent.policy import nft_place
from terway.agent.policy.nft_enforcer import NftEnforcer
from terway.agent.policy.off import PolicyOff
from terway.agent.policy.seats import Seats, seat_of
from terway.lab.kubeapi.resources import POLICY_NODE_STATUS
from terway.linux.kernel import open_kernel
from terway.linux.netns import open_netns
from terway.linux.nftables import run as nft
from terway.model.attachment import PodRef
from terway.model.errors import TransientError
from terway.model.ids import NodeName
from terway.model.interface import InterfaceSpec, Mode
from terway.policy.changes import Attach, ClusterChange, Detach, SetPod, SetPolicy
from terway.policy.cluster import Pod, PodKey
from terway.policy.compiling.compiler import Compiler
from terway.policy.nft.skeleton import Options
from terway.policy.policies import Policy
from terway.policy.reading.parse import parse_policy
from tests.support.attachments import attachment
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.policy_objects import network_policy

pytestmark = pytest.mark.root

TABLE = "inet terway_policy"
WEB = PodKey(namespace="default", name="web")
GOOD = PodKey(namespace="default", name="good")


def policy(name: str, **rule: Any) -> Policy:
    return parse_policy(
        network_policy(name, selects={"app": "web"}, ingress=[rule] if rule else [])
    )


CLOSED = policy("closed")
OPEN = policy("open", **{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]})

TO_PEERS = policy("peers", **{"from": [{"podSelector": {}}]})


class Node:
    """A compiler and the filters of one terwayd."""

    def __init__(self) -> None:
        self.compiler = Compiler(NodeName("n1"))
        self.seats = Seats()
        self.now = 1000.0
        self.filter = NftEnforcer(self.compiler.compiled, Options(), now=lambda: self.now)

    def seat(self, one):
        seat = seat_of(one)
        assert seat is not None
        self.seats.put((seat,))
        return Attach(key=seat.pod, addresses=one.lease.addresses)

    def adopt(self, *changes: ClusterChange) -> None:
        self.compiler.apply(changes)
        self.filter.adopt(self.compiler.compiled(), self.seats.snapshot())

    def apply(self, *changes: ClusterChange) -> None:
        change = self.compiler.apply(changes)
        self.filter.apply(change, self.seats.snapshot())

    def differences(self):
        wrong = self.filter.read().wrong(self.compiler.compiled())
        return tuple(one for words in wrong.values() for one in words)


@pytest.fixture
def node():
    nft(f"add table {TABLE}; delete table {TABLE}")
    yield Node()
    nft(f"add table {TABLE}; delete table {TABLE}")


def web(node: Node, one=None) -> tuple[ClusterChange, ...]:
    pod = Pod(key=WEB, labels={"app": "web"})
    return (SetPod(pod=pod), node.seat(one or attachment(1, pod="web")))


def test_what_was_compiled_is_what_the_kernel_says_after_every_change(node):
    node.adopt(*web(node), SetPolicy(policy=CLOSED))
    assert node.differences() == ()

    node.apply(SetPolicy(policy=OPEN))
    assert node.differences() == ()

    node.apply(SetPolicy(policy=policy("open")))
    assert node.differences() == ()
    assert not node.filter.disturbed()


def test_a_new_terwayd_takes_over_what_it_finds_and_leaves_nothing_of_it(node):
    """Bug class 46: leftovers of the one before it."""
    node.adopt(*web(node), SetPolicy(policy=OPEN))
    successor = Node()

    successor.adopt(*web(successor), SetPolicy(policy=CLOSED))

    assert successor.differences() == ()
    assert "10.1.0.0" not in nft(f"list table {TABLE}")


@pytest.mark.parametrize(
    "damage",
    [
        f"delete table {TABLE}",
        f"flush chain {TABLE} forward",
        f"flush map {TABLE} ingress",
        f"add rule {TABLE} forward accept",
        f"add table {TABLE} {{ flags dormant; }}",
        f"delete table {TABLE}; add table {TABLE} {{ flags dormant; }}",
    ],
)
def test_what_others_do_to_the_table_is_seen_and_mended(node, damage):
    """Bug class 27: others rewrite our rules."""
    node.adopt(*web(node), SetPolicy(policy=CLOSED))

    nft(damage)

    assert node.filter.disturbed()
    assert node.differences() != ()
    node.adopt()
    assert node.differences() == ()
    assert not node.filter.disturbed()


def test_what_others_do_beside_the_table_is_no_difference(node):
    node.adopt(*web(node), SetPolicy(policy=CLOSED))
    nft("add table inet others")

    assert node.filter.disturbed()
    assert node.differences() == ()
    assert not node.filter.disturbed()
    nft("delete table inet others")


def test_a_change_of_others_is_seen_behind_a_change_of_ours(node):
    node.adopt(*web(node), SetPolicy(policy=CLOSED))
    nft(f"add rule {TABLE} forward accept")

    node.apply(SetPolicy(policy=OPEN))

    assert node.filter.disturbed()


def exclusive(netns: str, number: int = 1):
    return replace(
        attachment(number, pod="web", netns=netns), spec=InterfaceSpec(mode=Mode.EXCLUSIVE)
    )


def tables_in(netns) -> str:
    with netns.entered():
        return nft("list tables")


def test_a_pod_with_an_eni_has_a_table_of_its_own_whatever_restricts_it(node):
    with scratch_netns() as netns:
        node.adopt(*web(node, exclusive(netns.path)))
        assert node.differences() == ()

        node.apply(SetPolicy(policy=OPEN))
        assert node.filter.judged_inside == (WEB,)
        assert node.differences() == ()

        node.apply(SetPod(pod=Pod(key=WEB)))
        assert node.filter.judged_inside == ()
        assert node.differences() == ()

        with netns.entered():
            nft(f"delete table {TABLE}")
        assert node.filter.disturbed() == (netns.path,)
        assert all("inside default/web" in one for one in node.differences())
        node.adopt()
        assert node.differences() == ()


@pytest.mark.parametrize("is_running", [True, False], ids=["found running", "added"])
async def test_a_pod_with_an_eni_has_its_connections_tracked_before_any_policy_is(node, is_running):
    """Only so it is known who opened those that are open when the first policy comes."""
    with scratch_netns() as netns:
        if is_running:
            node.adopt(*web(node, exclusive(netns.path)))
        else:
            node.adopt()
            node.apply(*web(node, exclusive(netns.path)))

        netns.run("ping -n -c 1 -W 2 127.0.0.1; ping -n -c 1 -W 2 ::1")
        with netns.entered():
            async with open_kernel() as kernel:
                for address in ("127.0.0.1", "::1"):
                    assert await kernel.count_connections([ip_address(address)]) == 1


@contextmanager
def held_by_a_pod(netns: ScratchNetns) -> Iterator[None]:
    """Have a process inside hold a table of our name, as its owner, for the block."""
    words = f"add table {TABLE}\ndelete table {TABLE}\nadd table {TABLE} {{ flags owner; }}\n"
    command = ["nsenter", f"--net={netns.path}", "nft", "-i"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as holder:
        assert holder.stdin is not None
        holder.stdin.write(words.encode())
        holder.stdin.flush()
        while "flags owner" not in "".join(listed(netns)):
            assert holder.poll() is None
        try:
            yield
        finally:
            holder.stdin.close()
            holder.wait()


def listed(netns: ScratchNetns) -> list[str]:
    """Return the tables of ours inside, in words, as they were at one moment."""
    with netns.entered():
        _, *tables = re.split("^(?=table )", nft("list ruleset"), flags=re.MULTILINE)
    return [table for table in tables if "terway_policy" in table.partition("{")[0]]


def is_judged(netns: ScratchNetns) -> bool:
    """Return whether what comes into a pod is asked of a rule set."""
    return any("jump ingress_eth0" in one for one in listed(netns))


def test_a_pod_that_holds_our_table_is_judged_by_another_and_nobody_else_notices(node):
    with scratch_netns("evil") as evil, scratch_netns("good") as good:
        other = Pod(key=GOOD, labels={"app": "web"})
        good_seat = replace(exclusive(good.path, 2), pod=PodRef(namespace="default", name="good"))
        node.adopt(*web(node, exclusive(evil.path)), SetPod(pod=other), node.seat(good_seat))

        with held_by_a_pod(evil):
            node.apply(SetPolicy(policy=CLOSED))

            assert node.filter.refused == {}
            assert "EPERM" in node.filter.notices[WEB]
            assert node.differences() == ()
            assert is_judged(evil)
            assert is_judged(good)

            node.apply(SetPolicy(policy=OPEN))
            assert node.differences() == ()

        node.adopt()
        assert node.filter.notices == {}
        assert node.differences() == ()
        assert len(listed(evil)) == 1


def test_a_place_that_refuses_holds_up_no_other_and_is_tried_again_by_itself(node, monkeypatch):
    """One pod's namespace must not decide whether policy is in force for the others."""
    with scratch_netns("evil") as evil, scratch_netns("good") as good:
        other = Pod(key=GOOD, labels={"app": "web"})
        good_seat = replace(exclusive(good.path, 2), pod=PodRef(namespace="default", name="good"))
        node.adopt(*web(node, exclusive(evil.path)), SetPod(pod=other), node.seat(good_seat))
        refuse_in(evil.path, monkeypatch)

        node.apply(SetPolicy(policy=CLOSED))

        assert node.filter.refused == {WEB: "no room"}
        assert not is_judged(evil)
        assert is_judged(good)
        assert all("no room" in one and "web" in one for one in node.differences())
        assert node.filter.disturbed() == ()
        node.now += 60
        assert node.filter.disturbed() == (evil.path,)

        monkeypatch.undo()
        node.filter.renew(node.compiler.compiled(), node.seats.snapshot(), (evil.path,))
        assert node.filter.refused == {}
        assert node.differences() == ()


def refuse_in(netns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel refuse whatever is wanted in one namespace."""

    def refusing(path: str) -> object:
        if path == netns:
            raise TransientError("no room", code="ENOMEM")
        return open_netns(path)

    monkeypatch.setattr(nft_place, "open_netns", refusing)


def test_a_change_of_what_a_pod_has_just_removed_is_no_refusal_and_is_mended(node):
    with scratch_netns() as netns:
        node.adopt(*web(node, exclusive(netns.path)), SetPolicy(policy=TO_PEERS))
        with netns.entered():
            nft(f"delete table {TABLE}")

        node.apply(SetPod(pod=Pod(key=GOOD)), node.seat(attachment(2, pod="good")))

        assert node.filter.refused == {}
        assert node.filter.disturbed() == (netns.path,)
        assert node.differences() != ()
        node.filter.renew(node.compiler.compiled(), node.seats.snapshot(), (netns.path,))
        assert node.differences() == ()


def test_what_was_to_be_removed_and_is_gone_keeps_nobody_from_mending(node):
    node.adopt(*web(node), SetPolicy(policy=CLOSED))
    node.adopt()
    nft(f"delete table {TABLE}")

    assert "there is no table of ours" in node.differences()[0]
    node.filter.renew(node.compiler.compiled(), node.seats.snapshot(), ("",))
    assert node.differences() == ()


def test_what_nobody_can_read_in_a_pods_table_is_put_away(node):
    with scratch_netns() as netns:
        node.adopt(*web(node, exclusive(netns.path)), SetPolicy(policy=CLOSED))
        with netns.entered():
            nft(f"add map {TABLE} egress {{ type ifname : verdict; }}")
            nft(f"add element {TABLE} ingress {{ * : accept }}")
        assert node.filter.disturbed() == (netns.path,)

        node.filter.renew(node.compiler.compiled(), node.seats.snapshot(), (netns.path,))

        assert node.differences() == ()


def test_a_pod_whose_namespace_has_ended_keeps_nobody_from_being_judged(node):
    with scratch_netns() as netns:
        node.adopt(*web(node, exclusive(netns.path)), SetPolicy(policy=CLOSED))

    node.apply(SetPolicy(policy=OPEN))
    other = Pod(key=PodKey(namespace="default", name="pod-2"), labels={"app": "web"})
    node.apply(SetPod(pod=other), node.seat(attachment(2)))

    assert node.differences() == ()
    assert nft(f"list map {TABLE} ingress").count("jump") == 2


def test_a_pod_that_left_is_in_no_table(node):
    one = attachment(1, pod="web")
    node.adopt(*web(node, one), SetPolicy(policy=CLOSED))
    seat = seat_of(one)
    assert seat is not None

    node.seats.drop(seat)
    node.apply(Detach(key=WEB))

    assert node.differences() == ()
    assert "jump" not in nft(f"list map {TABLE} ingress")


async def test_policy_that_is_switched_off_leaves_no_table_and_says_so(node, tmp_path: Path):
    told: list[str] = []
    state = make_cluster()
    state.create(POLICY_NODE_STATUS, {"metadata": {"name": "n1"}})
    with scratch_netns() as netns:
        one = exclusive(netns.path)
        node.adopt(*web(node, one), SetPolicy(policy=CLOSED))
        async with open_client(state, tmp_path) as client:
            off = PolicyOff(
                client,
                NodeName("n1"),
                attachments=lambda: (one,),
                told=lambda: told.append("off"),
            )
            await off.run()
            await off.run()

        assert told == ["off"]
        assert TABLE not in nft("list tables") + tables_in(netns)
        assert not state.list(POLICY_NODE_STATUS)
