"""What does terwayd cost: memory, time to start, calls to the cloud?"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

from tests.support.place import CommandError

from bench import world
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute
from bench.stats import median
from terway.lab.world.node import NodeHandle

RSS = "agent.rss_mb@50"
RSS_FULL = "agent.rss_mb@250"
IDLE = "agent.cpu_idle_pct"
RECONCILE = "agent.reconcile_ms@250"
START = "agent.start_s"
CALLS = "cloud.calls_per_pod"

RSS_PODS = 50
FULL_PODS = 250
IDLE_S = 90.0  # more than a period of the reconcile
LOOKS = 10
CALL_PODS = 200
AT_ONCE = 20  # pods that come and go together, as a rolling update does
STARTS = 7


async def measure_footprint(order: Order) -> list[Record]:
    """Measure memory with 50 pods, then the time that a restarted terwayd takes to serve them."""
    async with world.lab(nodes=1, instance_type=world.LARGE) as lab:
        node = lab.node("node-1")
        say(f"  {RSS_PODS} pods on {node.name}")
        await world.run_pods(lab, RSS_PODS, node=node.name)
        records = [_rss_record(node)]
        if order.wants(START):
            records.append(await _start_record(node, order.rounds(STARTS)))
        return records


def _rss_record(node: NodeHandle) -> Record:
    return absolute(
        RSS,
        subject=f"terwayd with {RSS_PODS} pods",
        value=world.agent_rss_mb(node),
        target=Target(bound=Bound.AT_MOST, limit=45.0, of_ratio=False),
        unit="MB",
        runs=1,
    )


async def _start_record(node: NodeHandle, rounds: int) -> Record:
    took_s = []
    for turn in range(rounds):
        say(f"  start {turn + 1} of {rounds}")
        took_s.append(await _start_s(node))
    return absolute(
        START,
        subject=f"terwayd with {RSS_PODS} pods in its journal",
        value=median(took_s),
        target=Target(bound=Bound.AT_MOST, limit=1.0, of_ratio=False),
        unit="s",
        runs=rounds,
    )


async def _start_s(node: NodeHandle) -> float:
    """Kill terwayd; return how old its successor is when a STATUS first succeeds."""
    conf = json.dumps(await world.plugin_conf(node, "1.1.0"))
    plugin = world.place_of(node).with_env(CNI_COMMAND="STATUS", CNI_PATH=world.BIN_DIR)
    await node.kill_agent()
    while True:
        try:
            await plugin.run(f"{world.BIN_DIR}/terway", stdin=conf)
        except CommandError:
            continue  # the plugin itself waits a while for somebody to answer
        return time.clock_gettime(time.CLOCK_BOOTTIME) - world.agent_began_s(node)


async def measure_calls(order: Order) -> list[Record]:
    """Count what terwayd asks of the cloud while 200 pods come and go, 20 at a time."""
    turns = 2 if order.quick else CALL_PODS // AT_ONCE
    async with world.lab(nodes=1, instance_type=world.LARGE) as lab:
        await world.wait_quiet(lab)
        before = Counter(lab.cloud.calls.counts())
        for turn in range(turns):
            say(f"  pods {turn * AT_ONCE + 1} to {(turn + 1) * AT_ONCE} come and go")
            names = await world.run_pods(lab, AT_ONCE, node="node-1", prefix=f"turn{turn}-")
            await world.remove_pods(lab, names)
        await world.wait_quiet(lab)
        calls = Counter(lab.cloud.calls.counts()) - before
    say(f"  {', '.join(f'{count} {action}' for action, count in calls.most_common())}")
    pods = turns * AT_ONCE
    return [
        absolute(
            CALLS,
            subject=f"{pods} pods, {AT_ONCE} at a time",
            value=calls.total() / pods,
            target=Target(bound=Bound.AT_MOST, limit=0.1, of_ratio=False),
            unit="calls",
            runs=pods,
        )
    ]


async def measure_full(order: Order) -> list[Record]:
    """Measure terwayd with 250 pods that do nothing: CPU, a look at everything, memory."""
    pods = RSS_PODS if order.quick else FULL_PODS
    async with world.lab(nodes=1, instance_type=world.HUGE) as lab:
        node = lab.node("node-1")
        for first in range(0, pods, RSS_PODS):
            say(f"  pods {first + 1} to {first + RSS_PODS} on {node.name}")
            await world.run_pods(lab, RSS_PODS, node=node.name, prefix=f"pod{first}-")
        await world.wait_quiet(lab)
        idle = await _idle_record(node, pods, IDLE_S / (3 if order.quick else 1))
        return [idle, await _reconcile_record(node, pods), _full_rss_record(node, pods)]


async def _idle_record(node: NodeHandle, pods: int, seconds: float) -> Record:
    say(f"  {seconds:.0f} s in which nothing happens")
    before, began = world.agent_cpu_s(node), time.monotonic()
    await asyncio.sleep(seconds)
    used, elapsed = world.agent_cpu_s(node) - before, time.monotonic() - began
    return absolute(
        IDLE,
        subject=f"terwayd with {pods} pods, {elapsed:.0f} s",
        value=100 * used / elapsed,
        target=Target(bound=Bound.AT_MOST, limit=0.2, of_ratio=False),
        unit="%",
        runs=1,
    )


async def _reconcile_record(node: NodeHandle, pods: int) -> Record:
    """Have terwayd look at the node again and again: a route comes and goes that might be its."""
    route = "10.255.255.255/32 dev lo table 1999"
    say(f"  {LOOKS} looks at journal, kernel and API")
    seconds, count = await _looks(node)
    for _ in range(LOOKS):
        await world.place_of(node).run("sh", "-c", f"ip route add {route}; ip route del {route}")
        await asyncio.sleep(2)
    seconds_after, count_after = await _looks(node)
    return absolute(
        RECONCILE,
        subject=f"terwayd with {pods} pods",
        value=1000 * (seconds_after - seconds) / (count_after - count),
        target=Target(bound=Bound.AT_MOST, limit=100.0, of_ratio=False),
        unit="ms",
        runs=int(count_after - count),
    )


async def _looks(node: NodeHandle) -> tuple[float, float]:
    """Return how many seconds all looks took so far, and how many there were."""
    lines = (await world.agent_page(node, "/metrics")).splitlines()
    values = dict(line.split(" ", 1) for line in lines if not line.startswith("#"))
    name = "terway_reconcile_seconds"
    return float(values[f"{name}_sum"]), float(values[f"{name}_count"])


def _full_rss_record(node: NodeHandle, pods: int) -> Record:
    return absolute(
        RSS_FULL,
        subject=f"terwayd with {pods} pods",
        value=world.agent_rss_mb(node),
        target=Target(bound=Bound.AT_MOST, limit=60.0, of_ratio=False),
        unit="MB",
        runs=1,
    )


GROUPS = (
    Group(
        figures=(IDLE, RECONCILE, RSS_FULL),
        title="terwayd on a full node",
        measure=measure_full,
    ),
    Group(figures=(RSS, START), title="terwayd's memory and start", measure=measure_footprint),
    Group(figures=(CALLS,), title="calls to the cloud", measure=measure_calls),
)
