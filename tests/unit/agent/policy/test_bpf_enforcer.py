"""The policy maps of a node, as its engine has them changed, proved and mended."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from terway.agent.policy.bpf_enforcer import BpfEnforcer
from terway.agent.policy.enforcer import MAPS, SeatMap
from terway.agent.policy.seats import Seat
from terway.model.address import IPPair
from terway.model.attachment import AttachmentKey
from terway.model.endpoint import endpoint_number
from terway.model.errors import TransientError
from terway.model.ids import ContainerId
from terway.model.policy_maps import Content
from terway.policy.bpf.judge import Judge, Question
from terway.policy.bpf.paper import PaperMaps
from terway.policy.bpf.ports import SET_MASK
from terway.policy.changes import ClusterChange, DropPolicy, SetPolicy
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import Compiled
from tests.support.compiled_shop import (
    CLIENT,
    CLIENT_AT,
    SERVER,
    SERVER_AT,
    peer,
    policy,
    rule,
    shop_compiler,
)

STRANGER = IPv4Address("10.0.0.77")
ONLY_CLIENTS = policy(ingress=(rule(peer("client")),))


class FailingMaps(PaperMaps):
    """Maps of which one is full after so many entries of a change."""

    def __init__(self) -> None:
        super().__init__()
        self.room: int | None = None

    def put(self, content: Content) -> None:
        if self.room is None:
            super().put(content)
            return
        kept = dict(list(content.hosts.items())[: self.room])
        super().put(Content(hosts=kept, verdicts=content.verdicts))
        raise TransientError("map policy_hosts is full", code="MapFull")


class Node:
    """The shop's server, its maps and its enforcer; `let_out` counts waits for packets."""

    def __init__(self) -> None:
        self.maps = FailingMaps()
        self.compiler = shop_compiler()
        self.let_out = 0
        self.enforcer = BpfEnforcer(self.maps, let_out=self._let_out)
        self.seats = seats(SERVER, "eth0")

    def _let_out(self) -> None:
        self.let_out += 1

    def adopt(self) -> None:
        self.enforcer.adopt(self.compiler.compiled(), self.seats)

    def apply(self, *changes: ClusterChange) -> None:
        self.enforcer.apply(self.compiler.apply(changes), self.seats)

    def wrong(self) -> object:
        return self.enforcer.read().wrong(self.compiler.compiled())

    def lets_in(self, other: IPv4Address, ifname: str = "eth0") -> bool:
        asked = Question(
            endpoint=number(ifname), other=other, protocol=Protocol.TCP, port=80, is_opener=False
        )
        return Judge(self.maps.read()).allows(asked)


def key(ifname: str) -> AttachmentKey:
    return AttachmentKey(container_id=ContainerId("c1"), ifname=ifname)


def number(ifname: str) -> int:
    return endpoint_number(key(ifname))


def seats(pod: PodKey, *ifnames: str) -> SeatMap:
    return {
        pod: tuple(
            Seat(
                pod=pod,
                attachment=key(ifname),
                addresses=IPPair(v4=SERVER_AT),
                host_link=f"cali{ifname}",
                is_own=ifname == "eth0",
            )
            for ifname in ifnames
        )
    }


@pytest.fixture
def node() -> Node:
    found = Node()
    found.adopt()
    return found


def test_a_policy_is_in_force_as_soon_as_it_was_applied_and_gone_when_it_goes(node):
    node.apply(SetPolicy(policy=ONLY_CLIENTS))

    assert (node.lets_in(CLIENT_AT), node.lets_in(STRANGER)) == (True, False)
    assert node.wrong() == {}

    node.apply(DropPolicy(key=ONLY_CLIENTS.key))
    assert node.lets_in(STRANGER)
    assert node.wrong() == {}


def test_every_interface_of_a_pod_is_judged_as_soon_as_it_is_seated(node):
    """bug class 45: the rule sets are there before the link is"""
    node.apply(SetPolicy(policy=ONLY_CLIENTS))

    node.seats = seats(SERVER, "eth0", "eth1")
    node.apply()

    assert not node.lets_in(STRANGER, "eth1")
    assert node.wrong() == {}


def test_a_new_process_goes_on_with_what_is_in_force_and_uses_no_number_for_something_else(node):
    """bug classes 46 and 47"""
    node.apply(SetPolicy(policy=ONLY_CLIENTS))
    before = node.maps.read()

    node.enforcer = BpfEnforcer(node.maps, let_out=lambda: None)
    node.adopt()

    after = node.maps.read()
    assert before.verdicts.items() <= after.verdicts.items()
    assert not node.lets_in(STRANGER)
    tidy(node)
    assert not before.verdicts.keys() & node.maps.verdicts.keys()
    assert node.wrong() == {}


def tidy(node: Node) -> None:
    assert node.enforcer.set_aside()
    node.enforcer.let_out()
    node.enforcer.clear_away()


def test_where_a_map_is_full_the_policies_from_before_stay_in_force_until_all_has_room(node):
    """bug class 54"""
    node.apply(SetPolicy(policy=ONLY_CLIENTS))
    node.maps.room = 0

    with pytest.raises(TransientError, match="policy_hosts is full"):
        node.apply(DropPolicy(key=ONLY_CLIENTS.key))
    assert (node.lets_in(CLIENT_AT), node.lets_in(STRANGER)) == (True, False)

    node.maps.room = None
    node.adopt()
    assert node.lets_in(STRANGER)
    assert node.wrong() == {}


def test_what_is_turned_again_at_once_waits_for_the_packets_in_between(node):
    tidy(node)
    waits = node.let_out
    node.apply(SetPolicy(policy=ONLY_CLIENTS))
    assert node.let_out == waits

    node.apply(DropPolicy(key=ONLY_CLIENTS.key))

    assert node.let_out == waits + 1


def test_changes_leave_nothing_behind_once_they_are_tidied(node):
    for _ in range(3):
        node.apply(SetPolicy(policy=ONLY_CLIENTS))
        node.apply(DropPolicy(key=ONLY_CLIENTS.key))
    tidy(node)

    assert node.maps.read().keys() == frozenset()
    assert not node.enforcer.set_aside()


def test_who_frees_a_pod_in_the_maps_is_seen_at_once_told_and_mended(node):
    node.apply(SetPolicy(policy=ONLY_CLIENTS))
    assert node.enforcer.disturbed() == ()

    del node.maps.sides[number("eth0")]

    assert node.enforcer.disturbed() == (MAPS,)
    assert "ingress of shop/server is free" in str(node.wrong())
    node.enforcer.renew(node.compiler.compiled(), node.seats, (MAPS,))
    assert node.enforcer.disturbed() == ()
    assert not node.lets_in(STRANGER)


def test_what_somebody_did_before_our_own_change_is_not_forgotten_with_it(node):
    node.apply(SetPolicy(policy=ONLY_CLIENTS))
    node.maps.sides.clear()

    node.apply()

    assert node.enforcer.disturbed() == (MAPS,)


def test_an_allowance_that_somebody_added_is_told_with_address_and_port(node):
    node.apply(SetPolicy(policy=ONLY_CLIENTS))
    pair = next(pair for pair, word in node.maps.verdicts.items() if word & SET_MASK)
    node.maps.verdicts[pair] |= 0x40000000

    (words,) = node.wrong()[MAPS]

    assert str(CLIENT_AT) in words
    assert "every UDP port" in words
    assert "allowed by the kernel and denied by policy" in words


def test_all_that_was_in_the_maps_goes_when_policy_is_switched_off(node):
    node.apply(SetPolicy(policy=ONLY_CLIENTS))

    assert node.enforcer.remove()
    assert node.lets_in(STRANGER)
    assert not node.enforcer.remove()


def test_a_pod_that_is_nobodys_here_is_no_matter(node):
    node.enforcer.adopt(Compiled(), seats(CLIENT, "eth0"))

    assert node.maps.read().keys() == frozenset()
