"""One round for one node: what happened since, what the pool makes of it, and who is told.

    scheduled pods ──Expected──┐                        ┌──► Node.status (one write, if it differs)
    NodeRuntime ─────Holding───┼──► step, step, …, Tick ┤        │ durable
    answers of calls ──────────┘                        └──► calls, begun when that is written

Nothing is decided here. Between a step and its write nobody else steps the pool; what comes
meanwhile waits in the inbox for the next round. A status that another control plane wrote ends
what this one believes of the node: it begins anew with that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from operator import attrgetter
from typing import Any

from terway.controlplane.budget import Turns
from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.counted import Counted
from terway.controlplane.pools.believed import (
    SILENT,
    NodePool,
    believe,
    news_of,
    primary_groups,
    said_by_agent,
)
from terway.controlplane.pools.calls import Desk
from terway.controlplane.pools.demand import PodsByNode, newest
from terway.controlplane.pools.facts import is_exclusive
from terway.controlplane.pools.journal import read_journal
from terway.controlplane.pools.moments import Moments
from terway.controlplane.pools.ports import Readings, Wake
from terway.controlplane.pools.sayings import say
from terway.controlplane.pools.settings import Surroundings
from terway.controlplane.pools.showing import Showing
from terway.controlplane.pools.stock import Stock
from terway.controlplane.pools.whole import WholeENIs
from terway.controlplane.ports import KubePort, Recorder
from terway.ipam.events import Event, Observed
from terway.ipam.pool import NEVER
from terway.ipam.wake import wake_at
from terway.kube.crds import NETWORK_INTERFACES, NODE_RUNTIMES, POOL_NODES, PoolNode
from terway.kube.informer import Change
from terway.kube.resource import PODS, ObjectKey, Resource
from terway.kube.types import ObjectReference
from terway.model.errors import ConflictError
from terway.pooling.calls import Change as CloudChange
from terway.pooling.ports import CloudPort

_LEAST_S = 0.01  # until the next round, where time alone asks for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What pools stand on. `clock` is monotonic seconds, `wall_clock` those since the epoch."""

    kube: KubePort
    cloud: CloudPort
    readings: Readings
    budget: Turns
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    events: Recorder | None = None
    counted: Counted = field(default_factory=Counted)


class PoolController:
    """Controller `multi-ip-node`: a pool for each node whose agent wants it so."""

    name = "multi-ip-node"

    def __init__(
        self,
        outside: Outside,
        informers: Informers,
        *,
        around: Callable[[], Surroundings],
        pods: Resource[Any] = PODS,
        concurrency: int = 500,
    ) -> None:
        self.concurrency = concurrency
        self._outside = outside
        self._around = around
        self._nodes = informers.of(POOL_NODES)
        self._runtimes = informers.of(NODE_RUNTIMES)
        self._pods = PodsByNode()
        self._whole = WholeENIs()
        self._desk: asyncio.Future[Desk] | None = None
        self._wake: Wake = lambda key: None
        self.moments = Moments(outside.clock, outside.wall_clock)
        self._showing = Showing(outside.kube, self.moments)
        self.stock = Stock()
        outside.readings.on_vswitch = self.stock.read
        self.pools: dict[str, NodePool] = {}
        self._begun = count()
        self.watches: tuple[Watch, ...] = (
            Watch(resource=POOL_NODES, keys_of=_asked_anew),
            Watch(resource=NODE_RUNTIMES, keys_of=own_key, is_urgent=_has_more_waiting),
            Watch(resource=pods, keys_of=self._pods.take, is_urgent=lambda change: True),
            Watch(resource=NETWORK_INTERFACES, keys_of=self._whole.take),
        )

    async def run(self, wake: Wake) -> None:
        """Make the calls that rounds begin, until cancelled."""
        self._wake = wake
        async with asyncio.TaskGroup() as tasks:
            out = self._outside
            desk = Desk(out.cloud, out.readings, out.budget, clock=out.clock, tasks=tasks)
            self._opened().set_result(desk)
            await asyncio.get_running_loop().create_future()

    def tell(self, name: str, one: NodePool, event: Event) -> None:
        """Have a node's pool hear of `event`."""
        out = self._outside
        out.counted.heard(name, event, one.pool.enis, now=out.clock())
        one.inbox.append(event)
        self._wake(ObjectKey(namespace="", name=name))

    def wake_all(self) -> None:
        """Have every node looked at: something that concerns all has changed."""
        for name in self.pools:
            self._wake(ObjectKey(namespace="", name=name))

    def _opened(self) -> asyncio.Future[Desk]:
        if self._desk is None:
            self._desk = asyncio.get_running_loop().create_future()
        return self._desk

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Do one round for a node."""
        node = self._nodes.get(key.name)
        if node is None or node.metadata.deletion_timestamp:
            self._forget(key.name)  # what it had is `gone`'s business
            return DONE
        if node.spec.eni is None:
            return await self._hand_over(key.name, node)
        await self._look_again(key.name, node)
        one = self._known(key.name, node)
        if one is None or is_exclusive(node.metadata.labels):
            return DONE
        began = self._outside.clock()
        self._step(one, node)
        await self._show(one, key.name)
        await self._begin(one, key)
        self._outside.counted.round_over(key.name, self._outside.clock() - began)
        return self._until(one)

    def _forget(self, name: str) -> None:
        one = self.pools.pop(name, None)
        if one is not None:
            self.stock.forget(one.uid)
        self._outside.counted.forget(name)

    async def _hand_over(self, name: str, node: PoolNode) -> Outcome:
        """Say nothing more of a node that sees to itself, once no call for it is under way."""
        one = self.pools.get(name)
        if one is not None and one.changing:
            return DONE  # the answer wakes us
        self._forget(name)
        await self._showing.clear(node)
        return DONE

    async def _look_again(self, name: str, node: PoolNode) -> None:
        """See that a node is still ours, before calls are repeated that its resource tells of.

        Such a call need not change what the resource says, so no write would find out.
        """
        if name in self.pools or not read_journal(node.status.journal).has_calls:
            return
        found = await self._outside.kube.get(POOL_NODES, name)
        if found is None or found.spec.eni is None:
            raise ConflictError(f"nodes/{name} is as it was in our cache no more")

    def _known(self, name: str, node: PoolNode) -> NodePool | None:
        """Return the node's pool, from the resource if it is not known yet."""
        one = self.pools.get(name)
        if one is not None and one.uid == node.metadata.uid:
            return one
        if one is not None:
            self.stock.forget(one.uid)
        around = self._around()
        # Each pool counts its tokens from zero, and one node may have several, one after the other:
        # a token that was used before would be answered with what was given then.
        around = replace(around, token_seed=f"{around.token_seed}-{next(self._begun)}")
        made = believe(node, around, now=self._outside.clock())
        if made is not None:
            self.pools[name] = made
        return made

    def _step(self, one: NodePool, node: PoolNode) -> None:
        """Let the pool hear of everything that is new."""
        name = node.metadata.name
        inbox = one.take_inbox()
        for event in inbox:
            if isinstance(event, Observed):
                one.primary_groups = primary_groups(event) or one.primary_groups
                one.synced_at = event.asked_at
        status = said_by_agent(one, self._runtimes.get(name))
        news = news_of(
            one, node, self._around(), status, self._pods.on(name), pod_enis=self._whole.on(name)
        )
        one.step((*news, *inbox), self.stock, now=self._outside.clock())

    async def _show(self, one: NodePool, name: str) -> None:
        try:
            await self._showing.show(one, name)
        except ConflictError:
            self.pools.pop(name, None)
            raise

    async def _begin(self, one: NodePool, key: ObjectKey) -> None:
        """Begin the calls: what they rest on is written."""
        pending, one.pending = one.pending, []
        if not pending:
            return
        desk = await self._opened()
        needs = tuple(self._pods.on(key.name))
        since = newest(needs, one.runtime or SILENT)

        def answered(event: Event) -> None:
            self._say(key.name, one, event)
            self.tell(key.name, one, event)

        def changed(event: Event) -> None:
            one.changing -= 1
            answered(event)

        for command in pending:
            is_change = isinstance(command, CloudChange)
            one.changing += is_change
            told = changed if is_change else answered
            desk.begin(one.pool.config, command, newest=since, answered=told)

    def _say(self, name: str, one: NodePool, event: Event) -> None:
        """Record at the node's resource what people want to know of a call."""
        said = say(event)
        if said is not None and self._outside.events is not None:
            target = ObjectReference(
                api_version=POOL_NODES.api_version, kind=POOL_NODES.kind, name=name, uid=one.uid
            )
            self._outside.events.record(target, said.type, said.reason, said.message)

    def _until(self, one: NodePool) -> Outcome:
        now = self._outside.clock()
        at = min(wake_at(one.pool, now), self._showing.due_at(one, now))
        return DONE if at == NEVER else Outcome(again_in_s=max(_LEAST_S, at - now))


def _asked_anew(change: Change[PoolNode]) -> tuple[ObjectKey, ...]:
    """Return the node, unless only what we write ourselves has changed."""
    old, new = change.old, change.new
    if old is not None and new is not None:
        parts = attrgetter("spec", "metadata.uid", "metadata.deletion_timestamp")
        if parts(old) == parts(new):
            return ()
    return (change.key,)


def _has_more_waiting(change: Change[object]) -> bool:
    waits = (
        getattr(getattr(one, "status", None), "waiting", 0) for one in (change.old, change.new)
    )
    old, new = waits
    return bool(new > old)
