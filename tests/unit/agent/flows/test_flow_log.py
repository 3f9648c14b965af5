"""The flow log is on while somebody follows it, says who and why, and says what it lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from terway.agent.flows.followers import Follower, Wish
from terway.agent.flows.page import MOST_FOLLOWERS, FlowPage
from terway.agent.flows.recorder import ANSWER, BUSY, CHANGED, NOT_OPENING
from terway.agent.flows.service import MORE, FlowLog
from terway.model.errors import UsageError
from terway.policy.records.flow_filter import FlowFilter
from terway.policy.records.recorded import Line, RecordedFlow, Remark, read_line
from tests.support.flow_log import CLIENT, POLICY, SERVER, FakeNode, tcp

EVERYTHING = FlowFilter()


@pytest.fixture
def node(tmp_path):
    return FakeNode(tmp_path)


@asynccontextmanager
async def running(log: FlowLog) -> AsyncIterator[None]:
    task = asyncio.create_task(log.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _next(follower: Follower) -> Line:
    async with asyncio.timeout(5):
        async for line in follower.lines():
            return line
    raise AssertionError


async def _flow(follower: Follower) -> RecordedFlow:
    line = await _next(follower)
    assert isinstance(line, RecordedFlow)
    return line


async def _begun(follower: Follower) -> None:
    line = await _next(follower)
    assert isinstance(line, Remark)
    assert line.text.startswith("from here on")


async def _a_second_later(node: FakeNode, log: FlowLog) -> None:
    """Let what was pushed be taken, and its second pass."""
    await node.taps[""].emptied()
    node.clock += 2
    log.look()


async def test_nothing_logs_until_somebody_follows_and_nothing_after(node):
    log = node.flow_log()
    async with running(log):
        await asyncio.sleep(0)
        assert node.told == []
        assert node.taps == {}
        with log.follow(EVERYTHING, Wish(sample=1)) as follower:
            await _begun(follower)
            assert log.in_force == Wish(sample=1)
        await node.is_told(None)
        assert node.told == [Wish(sample=1), None]


async def test_the_one_who_wants_most_decides_what_is_logged(node):
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as denied:
            await _begun(denied)
            await node.is_told(Wish())
            with log.follow(EVERYTHING, Wish(sample=100)) as some:
                await _begun(some)
                with log.follow(EVERYTHING, Wish(sample=10)) as more:
                    await _begun(more)
            await node.is_told(Wish())
    assert node.told == [Wish(), Wish(sample=100), Wish(sample=10), Wish()]


async def test_a_denied_connection_names_pods_policy_and_interface(node):
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            node.taps[""].push(tcp())
            await _a_second_later(node, log)
            flow = await _flow(follower)
    assert not flow.is_allowed
    assert (str(flow.source), str(flow.destination)) == ("web/client", "shop/db-0")
    assert (flow.protocol, flow.port, flow.interface) == ("TCP", 3306, "cali7")
    assert [side.policy for side in flow.sides] == [POLICY]


async def test_repeats_within_a_second_are_one_record_and_asked_about_once(node):
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            node.taps[""].push(*(tcp(source_port=40000 + n) for n in range(5)), tcp(port=22))
            node.taps[""].push(tcp(source_port=50000))
            await _a_second_later(node, log)
            flows = [await _flow(follower), await _flow(follower)]
    assert [(one.port, one.count) for one in flows] == [(3306, 6), (22, 1)]
    assert node.knowledge.asked == 2


async def test_the_kernels_deed_is_the_fact_where_policies_say_otherwise(node):
    log = node.flow_log()
    node.knowledge.allows = True
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            node.taps[""].push(tcp())
            node.taps[""].push(tcp(port=1, flags=0x10))
            await _a_second_later(node, log)
            changed, late = await _flow(follower), await _flow(follower)
    assert (changed.is_allowed, changed.sides, changed.note) == (False, (), CHANGED)
    assert (late.is_allowed, late.sides, late.note) == (False, (), NOT_OPENING)


async def test_an_answer_that_is_cut_is_told_as_its_connection(node):
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            answer = tcp(SERVER, CLIENT, port=40000, source_port=3306, flags=0x10)
            node.taps[""].push(answer)
            await _a_second_later(node, log)
            flow = await _flow(follower)
    assert (str(flow.source), str(flow.destination)) == ("web/client", "shop/db-0")
    assert (flow.port, flow.is_allowed, flow.note) == (3306, False, ANSWER)
    assert [side.policy for side in flow.sides] == [POLICY]


async def test_a_scan_of_ports_is_recorded_without_reasons_rather_than_hold_up_others(node):
    node.knowledge.takes_s = 0.04
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            node.knowledge.slows = node
            node.taps[""].push(*(tcp(port=port) for port in range(1, 6)))
            await _a_second_later(node, log)
            notes = [(await _flow(follower)).note for _ in range(5)]
    assert notes == ["", "", "", BUSY, BUSY]


async def test_who_cannot_be_judged_is_recorded_all_the_same(node):
    log = node.flow_log()
    node.knowledge.is_lost = True
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            node.taps[""].push(tcp())
            await _a_second_later(node, log)
            flow = await _flow(follower)
    assert "the pod is gone" in flow.note


async def test_lost_packets_are_said(node):
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            node.taps[""].push(lost=17)
            line = await _next(follower)
    assert isinstance(line, Remark)
    assert line.lost == 17


async def test_more_than_the_kernel_may_tell_in_a_second_is_said_once(node):
    log = node.flow_log()
    async with running(log):
        with log.follow(FlowFilter(port="1"), Wish()) as follower:
            await _begun(follower)
            node.taps[""].push(*[tcp()] * 999)
            node.taps[""].push(*[tcp()] * 900)
            line = await _next(follower)
            node.clock += 2
            node.taps[""].push(tcp(), lost=1)
            after = await _next(follower)
    assert isinstance(line, Remark)
    assert line.text == MORE
    assert isinstance(after, Remark)
    assert after.lost == 1


async def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(node):
    follower = Follower(EVERYTHING, Wish(), most=2)
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as other:
            await _begun(other)
            node.taps[""].push(*(tcp(port=port) for port in range(1, 6)))
            await _a_second_later(node, log)
            for _ in range(5):
                follower.tell(await _flow(other))
    lines = [await _next(follower) for _ in range(3)]
    assert [isinstance(one, RecordedFlow) for one in lines] == [True, True, False]
    assert isinstance(lines[2], Remark)
    assert lines[2].lost == 3


async def test_pods_judged_in_their_own_namespace_are_heard_there(node):
    node.pods_with_tables = ["/run/netns/pod"]
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish(sample=10)) as follower:
            await _begun(follower)
            node.knowledge.allows = True
            node.taps["/run/netns/pod"].push(tcp(), prefix="allowed")
            await node.taps["/run/netns/pod"].emptied()
            node.clock += 2
            log.look()
            flow = await _flow(follower)
    assert flow.is_allowed
    assert flow.sample == 10


async def test_a_namespace_that_cannot_be_heard_is_said_and_the_others_are(node):
    node.pods_with_tables = ["/run/netns/taken"]
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            line = await _next(follower)
            assert isinstance(line, Remark)
            assert "another program has it" in line.text
            node.taps[""].push(tcp())
            await _a_second_later(node, log)
            await _flow(follower)


async def test_rules_that_could_not_be_set_are_set_at_the_next_look(node):
    node.refusals = 1
    log = node.flow_log()
    async with running(log):
        with log.follow(EVERYTHING, Wish()) as follower:
            line = await _next(follower)
            assert isinstance(line, Remark)
            assert "busy" in line.text
            await _begun(follower)


async def test_what_is_configured_is_kept_in_files_of_bounded_size_for_root(node, tmp_path):
    log = node.flow_log(most_bytes=2000)
    log.configure(Wish())
    async with running(log):
        await node.is_told(Wish())
        with log.follow(EVERYTHING, Wish()) as follower:
            await _begun(follower)
            for port in range(1, 41):
                node.taps[""].push(tcp(port=port))
                await _a_second_later(node, log)
                await _flow(follower)
        log.configure(None)
        await node.is_told(None)
    folder = tmp_path / "flows"
    kept = [folder / "flows.jsonl.1", folder / "flows.jsonl"]
    assert sorted(folder.iterdir()) == sorted(kept)
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in kept)
    assert all(one.stat().st_size <= 2000 for one in kept)
    lines = [read_line(line) for one in kept for line in one.read_text().splitlines()]
    ports = [one.port for one in lines if isinstance(one, RecordedFlow)]
    assert ports == list(range(41 - len(ports), 41))
    assert len(ports) > 3


async def test_the_page_tells_the_last_records_then_those_to_come(node):
    log = node.flow_log()
    page = FlowPage(log)
    async with running(log):
        stream = page.stream("follow=1&verdict=denied&port=3306")
        first = asyncio.ensure_future(anext(stream))
        assert b"from here on" in await first
        assert log.in_force == Wish()
        node.taps[""].push(tcp(port=22), tcp())
        await _a_second_later(node, log)
        line = read_line((await anext(stream)).decode())
        assert isinstance(line, RecordedFlow)
        assert line.port == 3306
        known = [one async for one in page.stream("last=5")]
        assert len(known) == 2
        await stream.aclose()


async def test_a_query_that_cannot_be_is_refused_before_anything_is_logged(node):
    page = FlowPage(node.flow_log())
    for query in ("verdict=maybe&follow=1", "last=many", "port=http"):
        with pytest.raises(UsageError):
            page.stream(query)
    streams = [page.stream("follow=1") for _ in range(MOST_FOLLOWERS)]
    async with running(page._log):
        for one in streams:
            await anext(one)
        with pytest.raises(UsageError, match="end one of them"):
            page.stream("follow=1")
        for one in streams:
            await one.aclose()


def test_ends_that_are_nobodys_are_outside(node):
    assert node.knowledge.end_of(SERVER).owner == "shop: Pod db-0"
    assert node.knowledge.end_of(CLIENT).owner == "web: Pod client"
