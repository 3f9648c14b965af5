"""How does a schedule happen to a lab that runs, with real packets, in real time?"""

from __future__ import annotations

import asyncio
from operator import attrgetter

from terway.lab.faults import schedule as of
from terway.lab.faults.cloud_events import operate, upset_cloud
from terway.lab.world.lab import Lab

_CLOUD = (
    of.RefuseCalls
    | of.LoseReplies
    | of.SlowAnswers
    | of.Throttle
    | of.StuckTransitions
    | of.StaleDescribes
    | of.StaleMetadata
    | of.LateAddresses
)


async def inject(lab: Lab, schedule: of.Schedule) -> tuple[of.Event, ...]:
    """Let the events of `schedule` happen at their times; return those that cannot happen here.

    Pods are the lab's own: kubelet and runtime are as they are. The nodes are taken in the order
    of their names.
    """
    began = asyncio.get_running_loop().time()
    left: list[of.Event] = []
    async with asyncio.TaskGroup() as tasks:
        for event in sorted(schedule.events, key=attrgetter("at")):
            await asyncio.sleep(max(0.0, began + event.at - asyncio.get_running_loop().time()))
            if not _happen(lab, event, tasks):
                left.append(event)
    return tuple(left)


def _happen(lab: Lab, event: of.Event, tasks: asyncio.TaskGroup) -> bool:
    """Begin an event; return whether it can happen in a lab."""
    names = sorted(lab.nodes)
    node = lab.nodes[names[event.node % len(names)]]
    match event:
        case _ if isinstance(event, _CLOUD):
            upset_cloud(lab.cloud, event)
        case of.TakeAddress() | of.DetachENI():
            operate(lab.cloud, lab.instances[node.name].id, event)
        case of.Kill():
            tasks.create_task(node.kill_agent())
        case of.AddPod(pod=pod):
            tasks.create_task(_pod(lab, pod, node.name))
        case _:
            return False
    return True


async def _pod(lab: Lab, pod: str, node: str) -> None:
    await lab.pod(pod, node=node, timeout_s=120.0)
