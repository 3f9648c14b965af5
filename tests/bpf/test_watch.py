"""terwayd and the programs' maps: who watches hears what happens, by name, and losses are counted.

The program is that of tests/support/tell.bpf.c; the maps are pinned, as those of the data path are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from terway.agent.ebpf.losses import LossMetrics
from terway.agent.ebpf.watch import Watch
from terway.agent.ebpf.watch_page import WatchPage
from terway.agent.ebpf.watchers import Watcher, Wish
from terway.datapath.happening import Happened, LeftOut, Line, Place, Wanted, What, read_line
from terway.linux.ebpf.contract import Happening
from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.told import Asked, Tuple, open_told, read_losses, watch
from terway.model.endpoint import endpoint_number
from tests.support.attachments import attachment
from tests.support.tell_program import TellProgram, build_tell, open_tell

pytestmark = pytest.mark.root

PINS = Path("/sys/fs/bpf/watch")
POD = attachment(1)
ADDRESS, FAR = IPv4Address("192.168.32.1"), IPv4Address("192.168.0.200")
FLOW = Tuple(source=ADDRESS, destination=FAR, source_port=40000, destination_port=80, protocol=6)
NUMBER = endpoint_number(POD.key)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build_tell(tmp_path_factory.mktemp("watch"))


@pytest.fixture
def program(built) -> Iterator[TellProgram]:
    with open_tell(built, PINS) as opened:
        yield opened


@pytest.fixture
async def watched(program) -> AsyncIterator[Watch]:
    running = Watch("n1", partial(open_told, PINS), lambda: (POD,))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(running.run())
        yield running
        task.cancel()


async def lines_of(watcher: Watcher) -> AsyncIterator[Line]:
    async with asyncio.timeout(10):
        async for line in watcher.lines():
            yield line


async def silent(program: TellProgram) -> None:
    """Wait until the programs are to tell nothing. A map of the kernel's has no event."""
    async with asyncio.timeout(10):
        while any(program.maps.watching.lookup(bytes(4)) or b""):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_watcher_hears_of_losses_and_connections_by_name(program, watched):
    with watched.watchers.join(Wish(wanted=Wanted())) as watcher:
        lines = lines_of(watcher)
        begun = await anext(lines)
        program.lose(Loss.POLICY_EGRESS, endpoint=NUMBER, flow=FLOW)
        program.happen(Happening.OPEN, replace(FLOW, source=FAR, destination=ADDRESS))
        lost, opened = await anext(lines), await anext(lines)

    assert isinstance(begun, LeftOut)
    assert begun.text == "from here on: all losses and all connections, at most 2000 a second"
    assert isinstance(lost, Happened)
    assert isinstance(opened, Happened)
    assert (lost.what, lost.reason, lost.pod) == (What.LOSS, "policy-egress", "default/pod-1")
    assert lost.source == Place(address=ADDRESS, port=40000, name="default/pod-1")
    assert lost.destination == Place(address=FAR, port=80)
    assert (opened.what, opened.pod) == (What.OPEN, "")
    assert opened.destination == Place(address=ADDRESS, port=80, name="default/pod-1")


async def test_when_the_last_watcher_leaves_the_programs_tell_nothing_any_more(program, watched):
    with watched.watchers.join(Wish(wanted=Wanted())) as watcher:
        await anext(lines_of(watcher))
        assert any(program.maps.watching.lookup(bytes(4)))

    await silent(program)


async def test_what_a_killed_terwayd_watched_is_watched_no_more_when_the_next_one_starts(program):
    watch(program.maps.watching, Asked(losses=True, flows=True))

    running = Watch("n1", partial(open_told, PINS), tuple)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(running.run())
        await silent(program)
        task.cancel()


async def test_of_a_pod_with_one_interface_the_programs_tell_nothing_else(program, watched):
    wish = Wish(wanted=Wanted(pod="default/pod-1"), per_second=50)
    with watched.watchers.join(wish) as watcher:
        lines = lines_of(watcher)
        await anext(lines)
        for _ in range(500):  # others' losses take nothing of what may be told in a second
            program.lose(Loss.TTL, endpoint=3, flow=replace(FLOW, source=FAR))
        program.lose(Loss.TTL, endpoint=3, flow=replace(FLOW, destination=ADDRESS))
        line = await anext(lines)

    assert isinstance(line, Happened)
    assert line.destination == Place(address=ADDRESS, port=80, name="default/pod-1")


async def test_a_watcher_hears_how_much_was_left_out(program, watched):
    with watched.watchers.join(Wish(wanted=Wanted(), per_second=1)) as watcher:
        lines = lines_of(watcher)
        await anext(lines)
        for _ in range(100):
            program.lose(Loss.TTL, flow=FLOW)
        heard, left_out = 0, 0
        while heard + left_out < 100:
            line = await anext(lines)
            if isinstance(line, LeftOut):
                left_out += line.count
            else:
                heard += 1

    assert heard < 20


async def test_where_no_data_path_is_loaded_a_watcher_is_told_so():
    nothing = Watch("n1", partial(open_told, PINS / "nothing"), tuple)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(nothing.run())
        with nothing.watchers.join(Wish(wanted=Wanted())) as watcher:
            line = await anext(lines_of(watcher))
        task.cancel()

    assert isinstance(line, LeftOut)
    assert line.text == "no data path in eBPF is loaded on this node"


async def test_the_page_sends_a_line_of_json_for_each_record(program, watched):
    stream = WatchPage(watched).stream("losses=1&pod=pod-1")
    async with asyncio.timeout(10):
        await anext(stream)
        program.lose(Loss.VLAN, endpoint=NUMBER)
        line = read_line((await anext(stream)).decode())
    await stream.aclose()

    assert isinstance(line, Happened)
    assert (line.pod, line.reason, line.source) == ("default/pod-1", "vlan", None)


def test_losses_are_a_metric_by_pod_and_reason(program):
    program.lose(Loss.POLICY_INGRESS, endpoint=NUMBER, flow=FLOW)
    program.lose(Loss.MALFORMED)

    lines = exposed(LossMetrics(partial(open_told, PINS), lambda: (POD,)))

    assert 'terway_datapath_drops_total{pod="default/pod-1",reason="policy-ingress"} 1.0' in lines
    assert 'terway_datapath_drops_total{pod="",reason="malformed"} 1.0' in lines


def test_what_a_pod_lost_that_is_gone_stays_in_the_sum_and_not_in_the_kernel(program):
    """bug class 59: what is counted does not go back."""
    program.lose(Loss.TTL, endpoint=3, flow=FLOW)
    metrics = LossMetrics(partial(open_told, PINS), lambda: (POD,))

    for _ in range(2):
        lines = exposed(metrics)
        assert 'terway_datapath_drops_total{pod="",reason="ttl"} 1.0' in lines
    assert read_losses(program.maps.losses) == ()


def exposed(metrics: LossMetrics) -> list[str]:
    return [line for metric in metrics.metrics() for line in metric.lines()]
