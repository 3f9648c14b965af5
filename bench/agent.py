"""What does terwayd cost: memory, time to start, calls to the cloud?"""

from __future__ import annotations

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
START = "agent.start_s"
CALLS = "cloud.calls_per_pod"

RSS_PODS = 50
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


GROUPS = (
    Group(figures=(RSS, START), title="terwayd's memory and start", measure=measure_footprint),
    Group(figures=(CALLS,), title="calls to the cloud", measure=measure_calls),
)
