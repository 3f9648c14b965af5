"""How long after a change of a pod in the API does the node's packet filter have it?

    100 changes a second ──► API server ──watch──► terwayd ──netlink──► kernel
      begun: clock read                                                  │ tells of each element
      pods elsewhere, objects only: created, labelled, unlabelled        └──► clock read again

The kernel tells of an element when its transaction is in force.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

from bench import world
from bench.group import Group, Order, say
from bench.policy_watch import Elements, watched
from bench.record import Bound, Record, Target, absolute
from bench.stats import percentile
from terway.kube.resource import NETWORK_POLICIES, NODES, PODS
from terway.lab.world.lab import Lab
from terway.lab.world.pods import pod_manifest

P50, P99 = "policy.latency_p50_ms", "policy.latency_p99_ms"
LIMIT_MS = 500.0
RATE_PER_S = 100
SECONDS, QUICK_SECONDS = 20, 4
LOCAL_PODS = 10
PEERS = 600  # pods elsewhere, before the changes begin
POLICIES = 100
FIRST_ADDRESS = IPv4Address("10.90.0.1")
ELSEWHERE = "elsewhere"
SETTLE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One change of a pod: when it was begun, and what the kernel is to make of it."""

    address: IPv4Address
    begun: float
    is_added: bool


class Cluster:
    """The pods elsewhere, as the API has them, and what is done to them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._numbers = itertools.count()
        self._outside: list[int] = []  # pods that no policy lets in
        self._inside: list[int] = []

    async def lay(self) -> None:
        """Make the policies and the pods that are there before the changes begin."""
        await self._lab.kube.create(NODES, {"metadata": {"name": ELSEWHERE}})
        for number in range(POLICIES):
            await self._lab.kube.create(NETWORK_POLICIES, policy(number))
        for number in range(PEERS):
            await self._create(next(self._numbers), is_inside=number % 2 == 0)

    async def deed(self, turn: int) -> Deed:
        """Do one thing: create a pod, give one its label, or take a label away."""
        match turn % 3:
            case 0:
                number = next(self._numbers)
                begun = await self._create(number, is_inside=True)
            case 1:
                number, begun = self._outside.pop(0), time.monotonic()
                await self._label(number, is_inside=True)
            case _:
                number, begun = self._inside.pop(0), time.monotonic()
                await self._label(number, is_inside=False)
        return Deed(address=address_of(number), begun=begun, is_added=turn % 3 != 2)

    async def _create(self, number: int, *, is_inside: bool) -> float:
        """Create a pod; return when its address was about to be told, which is what counts."""
        labels = group(number) if is_inside else {}
        manifest = pod_manifest(name_of(number), namespace="default", node=ELSEWHERE, labels=labels)
        await self._lab.kube.create(PODS, manifest)
        begun = time.monotonic()
        address = str(address_of(number))
        status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}
        await self._lab.kube.patch(
            PODS, name_of(number), status, namespace="default", subresource="status"
        )
        (self._inside if is_inside else self._outside).append(number)
        return begun

    async def _label(self, number: int, *, is_inside: bool) -> None:
        labels: Mapping[str, str | None] = group(number) if is_inside else {"group": None}
        patch = {"metadata": {"labels": labels}}
        await self._lab.kube.patch(PODS, name_of(number), patch, namespace="default")
        (self._inside if is_inside else self._outside).append(number)


def name_of(number: int) -> str:
    """Return the name of a pod elsewhere."""
    return f"peer-{number}"


def address_of(number: int) -> IPv4Address:
    """Return its address."""
    return FIRST_ADDRESS + number


def group(number: int) -> dict[str, str]:
    """Return the label that has one of the policies let it in."""
    return {"group": str(number % POLICIES)}


def policy(number: int) -> dict[str, object]:
    """Return a policy that lets a group of pods reach all local ones."""
    peer = {"podSelector": {"matchLabels": group(number)}}
    spec = {"podSelector": {"matchLabels": {"app": "local"}}, "ingress": [{"from": [peer]}]}
    return {"metadata": {"name": f"policy-{number}", "namespace": "default"}, "spec": spec}


async def measure(order: Order) -> list[Record]:
    """Change pods at the rate for a while, and see each change arrive."""
    async with world.lab(nodes=1) as lab:
        node = lab.node("node-1")
        for number in range(LOCAL_PODS):
            await lab.pod(f"local-{number}", node=node.name, labels={"app": "local"})
        with watched(node.netns_path) as elements:
            cluster = Cluster(lab)
            await cluster.lay()
            last = address_of(PEERS - 2)  # the last that a policy lets in
            seen = partial(elements.first, last, since=0.0, is_added=True)
            await asyncio.to_thread(elements.wait, seen, timeout_s=SETTLE_S)
            seconds = QUICK_SECONDS if order.quick else SECONDS
            deeds = await _change(cluster, seconds)
            took_ms = await _latencies_ms(deeds, elements)
    rate = len(deeds) / (max(one.begun for one in deeds) - min(one.begun for one in deeds))
    say(f"  {len(deeds)} changes, {rate:.0f} a second")
    return [one for one in _records(took_ms, rate) if order.wants(one.figure)]


async def _change(cluster: Cluster, seconds: int) -> list[Deed]:
    """Do what is due each hundredth of a second, whether the last is answered or not."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        running = []
        for turn in range(seconds * RATE_PER_S):
            running.append(tasks.create_task(cluster.deed(turn)))
            await asyncio.sleep(max(0.0, began + (turn + 1) / RATE_PER_S - time.monotonic()))
    return [one.result() for one in running]


async def _latencies_ms(deeds: list[Deed], elements: Elements) -> list[float]:
    def all_came() -> bool:
        return all(_came(one, elements) is not None for one in deeds)

    await asyncio.to_thread(elements.wait, all_came, timeout_s=SETTLE_S)
    came = ((_came(one, elements), one.begun) for one in deeds)
    return [(at - begun) * 1e3 for at, begun in came if at is not None]


def _came(deed: Deed, elements: Elements) -> float | None:
    return elements.first(deed.address, since=deed.begun, is_added=deed.is_added)


def _records(took_ms: list[float], rate: float) -> Iterator[Record]:
    for figure, percent in ((P50, 50), (P99, 99)):
        yield absolute(
            figure,
            subject=f"from a pod's change to the kernel, at {rate:.0f} changes a second",
            value=percentile(took_ms, percent),
            target=Target(bound=Bound.AT_MOST, limit=LIMIT_MS, of_ratio=False),
            unit="ms",
            runs=len(took_ms),
        )


GROUP = Group(figures=(P50, P99), title="policy from the API to the kernel", measure=measure)
