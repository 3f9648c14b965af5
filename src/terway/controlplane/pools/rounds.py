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
from ipaddress import ip_address, ip_network
from operator import attrgetter
from typing import Any

import msgspec
import structlog

from terway.controlplane.budget import Turns
from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.counted import Counted
from terway.controlplane.pools.calls import Desk
from terway.controlplane.pools.demand import PodsByNode, expected_on, newest
from terway.controlplane.pools.facts import is_exclusive
from terway.controlplane.pools.ports import Readings, Wake
from terway.controlplane.pools.sayings import say
from terway.controlplane.pools.settings import Surroundings, pool_config
from terway.controlplane.pools.status import revive, status_of
from terway.controlplane.ports import KubePort, Recorder
from terway.ipam.commands import Bind, CloudCommand, Refuse
from terway.ipam.events import Configured, Event, Expected, Holding, Observed, Tick
from terway.ipam.outlook import look_ahead
from terway.ipam.pool import NEVER, Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.step import step
from terway.ipam.values import ENIPhase
from terway.ipam.wake import wake_at
from terway.kube.clock import format_time
from terway.kube.crds import (
    NODE_RUNTIMES,
    POOL_NODES,
    NodeRuntimeStatus,
    NodeStatus,
    PoolNode,
)
from terway.kube.informer import Change
from terway.kube.resource import PODS, ObjectKey, Resource
from terway.kube.types import ObjectMeta, ObjectReference
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENIType
from terway.model.errors import ConflictError
from terway.model.ids import SecurityGroupId
from terway.pooling.ports import CloudPort

_log = structlog.get_logger("pools")
_SILENT = NodeRuntimeStatus()
_LEAST_S = 0.01  # until the next round, where time alone asks for one


@dataclass(slots=True, kw_only=True)
class NodePool:
    """What the control plane believes of one node's pool, from round to round."""

    uid: str  # of the resource: another one of the same name is another pool
    version: str  # of the resource, as last written or read
    shown: NodeStatus  # as last written or read
    pool: Pool
    inbox: list[Event] = field(default_factory=list)
    pending: list[CloudCommand] = field(default_factory=list)  # until what they rest on is written
    primary_groups: tuple[SecurityGroupId, ...] = ()
    runtime: NodeRuntimeStatus | None = None  # as last taken over
    synced: str | None = None  # when the cloud was last compared with this, as the API has times


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
        self._desk: asyncio.Future[Desk] | None = None
        self._wake: Wake = lambda key: None
        self.pools: dict[str, NodePool] = {}
        self.watches: tuple[Watch, ...] = (
            Watch(resource=POOL_NODES, keys_of=_asked_anew),
            Watch(resource=NODE_RUNTIMES, keys_of=own_key, is_urgent=_has_more_waiting),
            Watch(resource=pods, keys_of=self._pods.take, is_urgent=lambda change: True),
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
            self.pools.pop(key.name, None)  # what it had is `gone`'s business
            self._outside.counted.forget(key.name)
            return DONE
        one = self._known(key.name, node)
        if one is None or is_exclusive(node.metadata.labels):
            return DONE
        began = self._outside.clock()
        self._step(one, node)
        await self._show(one, key.name)
        await self._begin(one, key)
        self._outside.counted.round_over(key.name, self._outside.clock() - began)
        return self._until(one)

    def _known(self, name: str, node: PoolNode) -> NodePool | None:
        """Return the node's pool, from the resource if it is not known yet."""
        one = self.pools.get(name)
        if one is not None and one.uid == node.metadata.uid:
            return one
        config = pool_config(node.spec, self._around(), ())
        if config is None:
            return None
        pool = revive(config, node.status, now=self._outside.clock())
        made = NodePool(
            uid=node.metadata.uid,
            version=node.metadata.resource_version,
            shown=node.status,
            pool=pool,
        )
        self.pools[name] = made
        return made

    def _step(self, one: NodePool, node: PoolNode) -> None:
        """Let the pool hear of everything, and keep what it wants done."""
        inbox, one.inbox = one.inbox, []
        for event in inbox:
            if isinstance(event, Observed):
                one.primary_groups = _primary_groups(event) or one.primary_groups
                one.synced = format_time(self._outside.wall_clock())
        for event in (*self._told(one, node), *inbox, Tick()):
            one.pool, commands = step(one.pool, event, now=self._outside.clock())
            one.pending += (c for c in commands if not isinstance(c, Bind | Refuse))

    def _told(self, one: NodePool, node: PoolNode) -> list[Event]:
        """Return what configuration, agent and scheduler say now, as far as it is new."""
        events: list[Event] = []
        config = pool_config(node.spec, self._around(), one.primary_groups)
        if config is not None and not _is_same(config, one.pool.config):
            events.append(Configured(config=config))
        name = node.metadata.name
        runtime = self._runtimes.get(name)
        status = _SILENT if runtime is None else runtime.status
        if status is not one.runtime:
            one.runtime = status
            events.append(_holding(status))
        wishes = expected_on(self._pods.on(name), status, has_erdma=one.pool.config.erdma_enis > 0)
        events.append(Expected(wishes=wishes))
        return events

    async def _show(self, one: NodePool, name: str) -> None:
        """Write the status if it differs. ConflictError: somebody else wrote it meanwhile."""
        held = one.runtime.held if one.runtime is not None else {}
        reason = _why_no_more(one.pool, self._outside.clock())
        status = status_of(one.pool, held, one.shown, reason=reason)
        if status == one.shown:
            return
        now = format_time(self._outside.wall_clock())
        # A reading that changes nothing is worth no write: it is shown with the next change.
        synced = one.synced or status.last_sync_open_api_time
        status = msgspec.structs.replace(
            status, last_modified_time=now, last_sync_open_api_time=synced
        )
        try:
            await self._write(one, name, status)
        except ConflictError:
            self.pools.pop(name, None)
            raise

    async def _write(self, one: NodePool, name: str, status: NodeStatus) -> None:
        try:
            written = await self._put(one, name, status)
        except ConflictError as error:
            # The agent may have written its half of the resource: that changes nothing here.
            found = await self._outside.kube.get(POOL_NODES, name)
            if found is None or found.metadata.uid != one.uid or found.status != one.shown:
                raise ConflictError(f"nodes/{name}: {error}") from error
            one.version = found.metadata.resource_version
            written = await self._put(one, name, status)
        one.version = written.metadata.resource_version
        one.shown = status

    async def _put(self, one: NodePool, name: str, status: NodeStatus) -> PoolNode:
        meta = ObjectMeta(name=name, uid=one.uid, resource_version=one.version)
        body = PoolNode(metadata=meta, status=status)
        return await self._outside.kube.update(POOL_NODES, body, subresource="status")

    async def _begin(self, one: NodePool, key: ObjectKey) -> None:
        """Begin the calls: what they rest on is written."""
        pending, one.pending = one.pending, []
        if not pending:
            return
        desk = await self._opened()
        needs = tuple(self._pods.on(key.name))
        since = newest(needs, one.runtime or _SILENT)

        def answered(event: Event) -> None:
            self._say(key.name, one, event)
            self.tell(key.name, one, event)

        for command in pending:
            desk.begin(one.pool.config, command, newest=since, answered=answered)

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
        at = wake_at(one.pool, now)
        return DONE if at == NEVER else Outcome(again_in_s=max(_LEAST_S, at - now))


def _why_no_more(pool: Pool, now: float) -> str:
    """Return why some who are on their way can have no address now; empty where all can.

    As long as something is on its way, nobody is sent away: it comes first.
    """
    if pool.intents or any(eni.phase is ENIPhase.ATTACHING for eni in pool.enis.values()):
        return ""
    for wish, count in pool.expected.items():
        outlook = look_ahead(pool, now, wish)
        if outlook.pairs < count:
            return outlook.reason
    return ""


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


def _primary_groups(event: Observed) -> tuple[SecurityGroupId, ...]:
    found = (eni for eni in event.attached if eni.type is ENIType.PRIMARY)
    return next((eni.security_group_ids for eni in found), ())


def _is_same(new: PoolConfig, old: PoolConfig) -> bool:
    # A restart makes another seed, and the pool keeps its own.
    return replace(new, token_seed=old.token_seed) == old


def _holding(status: NodeRuntimeStatus) -> Holding:
    released: dict[IPAddress | IPNetwork, int] = {}
    for text, number in status.released.items():
        released[ip_network(text) if "/" in text else ip_address(text)] = number
    held = {ip_address(text): bool(one.pod_uid or one.pod_id) for text, one in status.held.items()}
    return Holding(held=held, released=released)
