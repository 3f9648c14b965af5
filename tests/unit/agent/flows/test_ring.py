"""What programs of a data path tell becomes the records that logged packets become."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from terway.agent.ebpf import watchers
from terway.agent.ebpf.watchers import Watchers
from terway.agent.flows.followers import Wish
from terway.agent.flows.recorder import NOT_OPENING
from terway.agent.flows.ring import Programs
from terway.agent.flows.seen import seen_by_program
from terway.datapath.happening import Happened, LeftOut, Place, Wanted, What
from terway.policy.records.flow_filter import FlowFilter
from terway.policy.records.recorded import Line, RecordedFlow, Remark
from tests.support.flow_log import CLIENT, POLICY, SERVER, FakeNode, tcp
from tests.unit.agent.flows.test_flow_log import _begun, _flow, _next, running

TIME = "2026-11-23T08:00:00.123456Z"
DENIED = Happened(
    time=TIME,
    node="node-1",
    what=What.LOSS,
    pod="shop/db-0",
    interface="eth0",
    reason="policy-ingress",
    protocol="TCP",
    source=Place(address=CLIENT, port=40000, name="web/client"),
    destination=Place(address=SERVER, port=3306, name="shop/db-0"),
)
OPENED = replace(DENIED, what=What.OPEN, reason="")


class Told:
    """A node whose programs tell: `watchers` are given what a test has happen."""

    def __init__(self, node: FakeNode) -> None:
        self.watchers = Watchers()
        self.node = node
        node.programs = Programs(watchers=self.watchers)
        node.has_tables = False

    async def watched(self) -> None:
        """Have the programs tell what is wished, as `agent.ebpf.watch` does."""
        async with asyncio.timeout(5):
            await self.watchers.changed.wait()
        self.watchers.changed.clear()
        self.watchers.in_force = self.watchers.wish()
        self.watchers.begin(LeftOut(time=TIME, node="node-1", text="from here on: this"))


@pytest.fixture
def told(tmp_path) -> Told:
    return Told(FakeNode(tmp_path))


async def _lines(
    told: Told, *happened: Happened | LeftOut, wish: Wish, count: int = 1
) -> list[Line]:
    """Return what a follower hears of what happens, once its second is over."""
    log = told.node.flow_log()
    async with running(log):
        with log.follow(FlowFilter(), wish) as follower:
            await told.watched()
            await _begun(follower)
            told.watchers.tell(happened)
            told.node.clock += 2
            log.look()
            return [await _next(follower) for _ in range(count)]


async def test_a_loss_by_policy_is_a_denied_connection_with_its_policy(told):
    (flow,) = await _lines(told, DENIED, wish=Wish())
    assert isinstance(flow, RecordedFlow)
    assert (flow.is_allowed, flow.time) == (False, "2026-11-23T08:00:00.123Z")
    assert (str(flow.source), str(flow.destination)) == ("web/client", "shop/db-0")
    assert (flow.protocol, flow.port, flow.interface) == ("TCP", 3306, "eth0")
    assert [side.policy for side in flow.sides] == [POLICY]


async def test_a_connection_that_opens_is_an_allowed_one(told):
    told.node.knowledge.allows = True
    (flow,) = await _lines(told, OPENED, wish=Wish(sample=10))
    assert isinstance(flow, RecordedFlow)
    assert (flow.is_allowed, flow.sample) == (True, 10)
    assert [side.policy for side in flow.sides] == [POLICY]


async def test_what_opened_at_its_sender_and_is_denied_at_its_receiver_are_two_records(told):
    at_sender = replace(OPENED, pod="web/client")
    allowed, denied = await _lines(told, at_sender, DENIED, wish=Wish(sample=1), count=2)
    assert isinstance(allowed, RecordedFlow)
    assert isinstance(denied, RecordedFlow)
    assert (allowed.is_allowed, allowed.sides, allowed.note) == (True, (), "")
    assert (denied.is_allowed, denied.note) == (False, "")


async def test_what_belongs_to_no_connection_is_said_to_be_that(told):
    told.node.knowledge.allows = True
    unknown = replace(DENIED, reason="unknown-flow")
    (flow,) = await _lines(told, unknown, wish=Wish())
    assert isinstance(flow, RecordedFlow)
    assert (flow.sides, flow.note) == ((), NOT_OPENING)


async def test_what_was_left_out_is_said(told):
    left_out = LeftOut(time=TIME, node="node-1", count=17)
    (line,) = await _lines(told, left_out, wish=Wish())
    assert isinstance(line, Remark)
    assert line.lost == 17


async def test_programs_tell_while_somebody_follows_and_not_longer(told):
    log = told.node.flow_log()
    async with running(log):
        await asyncio.sleep(0)
        assert told.watchers.wish() is None
        with log.follow(FlowFilter(), Wish()) as follower:
            await told.watched()
            await _begun(follower)
            assert told.watchers.wish() == watchers.Wish(wanted=Wanted(flows=False))
            with log.follow(FlowFilter(), Wish(sample=100)) as more:
                await told.watched()
                await _begun(more)
                assert told.watchers.wish() == watchers.Wish(wanted=Wanted(), one_in=100)
        await told.watched()
        assert told.watchers.wish() is None
    assert told.node.taps == {}


async def test_why_programs_cannot_tell_is_said(told):
    log = told.node.flow_log()
    async with running(log):
        with log.follow(FlowFilter(), Wish()) as follower:
            async with asyncio.timeout(5):
                await told.watchers.changed.wait()
            told.watchers.trouble = "no data path in eBPF is loaded on this node"
            told.watchers.begin(LeftOut(time=TIME, node="node-1", text="no"))
            line = await _next(follower)
    assert isinstance(line, Remark)
    assert line.text == "no data path in eBPF is loaded on this node"


async def test_what_a_table_and_a_program_both_see_is_one_record(told):
    told.node.has_tables = True
    log = told.node.flow_log()
    async with running(log):
        with log.follow(FlowFilter(), Wish()) as follower:
            await told.watched()
            await _begun(follower)
            told.node.taps[""].push(tcp(), tcp())
            await told.node.taps[""].emptied()
            told.watchers.tell([DENIED])
            told.node.clock += 2
            log.look()
            flow = await _flow(follower)
    assert flow.count == 2


@pytest.mark.parametrize(
    "happened",
    [
        replace(DENIED, reason="ttl"),
        replace(DENIED, source=None, destination=None),
        replace(OPENED, what=What.CLOSE),
    ],
)
def test_what_no_policy_decided_is_no_record(happened):
    assert seen_by_program(happened, sample=1) is None


def test_what_is_left_to_the_stack_is_told_by_its_tables():
    services = (ip_network("172.16.0.0/16"), ip_network("fd00::/112"))
    asked = replace(OPENED, destination=Place(address=ip_address("172.16.0.9"), port=80))
    assert seen_by_program(asked, sample=1, left_to_stack=services) is None
    assert seen_by_program(OPENED, sample=1, left_to_stack=services) is not None


def test_a_pod_that_meets_itself_by_a_service_is_both_ends():
    service = Place(address=ip_address("172.16.0.9"), port=80)
    itself = replace(OPENED, source=service, frontend=service)
    seen = seen_by_program(itself, sample=1)
    assert seen is not None
    assert (seen.source, seen.destination) == (SERVER, SERVER)


@pytest.mark.parametrize(
    ("protocol", "ports", "kind"),
    [("ICMP", (7, 0), 8), ("ICMP", (0, 7), 0), ("ICMPv6", (7, 0), 128), ("ICMP", (0, 0), None)],
)
def test_an_echo_has_a_type_and_no_ports(protocol, ports, kind):
    echo = replace(
        OPENED,
        protocol=protocol,
        source=Place(address=CLIENT, port=ports[0]),
        destination=Place(address=SERVER, port=ports[1]),
    )
    seen = seen_by_program(echo, sample=1)
    assert seen is not None
    assert (seen.source_port, seen.port, seen.icmp_type) == (0, 0, kind)
