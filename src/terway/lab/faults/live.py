"""How does a schedule happen to a lab that runs, with real packets, in real time?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from operator import attrgetter

from terway.lab.faults import events as of
from terway.lab.faults.cloud_events import operate, upset_cloud
from terway.lab.faults.schedule import Schedule
from terway.lab.vpc.impair import Impairment
from terway.lab.world.lab import Lab
from terway.model.ids import ENIId

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
_CUT = Impairment(loss=1.0)


async def inject(lab: Lab, schedule: Schedule) -> tuple[of.Event, ...]:
    """Let the events of `schedule` happen at their times; return those that cannot happen here.

    Pods are the lab's own: kubelet and runtime are as they are. The nodes are taken in the order
    of their names. Returns when all is over that ends by itself.
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
        case of.Partition(for_s=for_s):
            # All that a node itself says leaves by its first ENI; pods have the others.
            tasks.create_task(_impair(lab, _enis(lab, node.name, first=True), _CUT, for_s))
        case of.Impair(delay_ms=0.0, for_s=for_s):
            fault = Impairment(loss=event.loss_percent / 100.0, mtu_bytes=event.mtu_bytes)
            tasks.create_task(_impair(lab, _enis(lab, node.name, first=False), fault, for_s))
        case _:
            return False  # a delay among them: the fabric has no queue to keep a packet in
    return True


def _enis(lab: Lab, node: str, *, first: bool) -> list[ENIId]:
    """Return a node's own ENI, or those of its pods that are there now."""
    mine = lab.cloud.world.state.enis_of(lab.instances[node].id)
    return [eni.id for eni in mine if (eni.slot == 0) is first]


async def _impair(lab: Lab, enis: Iterable[ENIId], fault: Impairment, for_s: float) -> None:
    chosen = tuple(enis)
    await lab.fabric.impair(dict.fromkeys(chosen, fault))
    try:
        await asyncio.sleep(for_s)
    finally:
        await lab.fabric.impair(dict.fromkeys(chosen))


async def _pod(lab: Lab, pod: str, node: str) -> None:
    await lab.pod(pod, node=node, timeout_s=120.0)
