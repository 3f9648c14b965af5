"""What does the control plane believe of one node's pool, and what is new to that pool?

scheduled pods ──Expected──┐
NodeRuntime ─────Holding───┼──► step, step, …, Tick ──► commands, pending until they may begin
answers of calls ──inbox───┘
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from terway.controlplane.pools.conditions import Troubles, heard
from terway.controlplane.pools.demand import Need, expected_on
from terway.controlplane.pools.settings import Surroundings, pool_config
from terway.controlplane.pools.status import revive
from terway.controlplane.pools.stock import Stock
from terway.ipam.commands import Bind, CloudCommand, Refuse
from terway.ipam.events import Configured, Event, Expected, Holding, Observed, Tick
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.step import step
from terway.kube.crds import HeldIP, NodeRuntime, NodeRuntimeStatus, NodeStatus, PoolNode
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENIType
from terway.model.ids import SecurityGroupId

SILENT = NodeRuntimeStatus()  # of an agent that has said nothing


@dataclass(slots=True, kw_only=True)
class NodePool:
    """What the control plane believes of one node's pool, from round to round.

    Times are monotonic seconds.
    """

    uid: str  # of the resource: another one of the same name is another pool
    version: str  # of the resource, as last written or read
    shown: NodeStatus  # as last written or read
    pool: Pool
    inbox: list[Event] = field(default_factory=list)
    pending: list[CloudCommand] = field(default_factory=list)  # until what they rest on is written
    changing: int = 0  # calls that change something, and are not answered
    primary_groups: tuple[SecurityGroupId, ...] = ()
    runtime: NodeRuntimeStatus | None = None  # as last taken over
    is_asked_again: bool = False  # the agent was asked to say again what somebody deleted
    synced_at: float | None = None  # when the cloud was last compared with this
    troubles: Troubles = field(default_factory=dict)

    def step(self, news: Iterable[Event], stock: Stock, *, now: float) -> None:
        """Let the pool hear of `news` and of the time, and keep what it wants done."""
        for one in (*news, Tick()):
            pool, event = stock.show(self.uid, self.pool, one)
            self.troubles = heard(self.troubles, event, pool, now=now)
            self.pool, commands = step(pool, event, now=now)
            stock.settle(self.uid, pool, event, self.pool, now=now)
            self.pending += (c for c in commands if not isinstance(c, Bind | Refuse))

    def take_inbox(self) -> list[Event]:
        """Return what calls were answered since, and have the inbox empty."""
        inbox, self.inbox = self.inbox, []
        return inbox


def believe(node: PoolNode, around: Surroundings, *, now: float) -> NodePool | None:
    """Return what a node's resource makes one believe; None before its agent has spoken."""
    config = pool_config(node.spec, around, ())
    if config is None:
        return None
    return NodePool(
        uid=node.metadata.uid,
        version=node.metadata.resource_version,
        shown=node.status,
        pool=revive(config, node.status, now=now),
    )


def news_of(
    one: NodePool,
    node: PoolNode,
    around: Surroundings,
    runtime: NodeRuntimeStatus,
    needs: Iterable[Need],
    *,
    pod_enis: int = 0,
) -> list[Event]:
    """Return what configuration, agent and scheduler say now, as far as it is new.

    `pod_enis` are the ENIs of the node that single pods have.
    """
    events: list[Event] = []
    config = pool_config(node.spec, around, one.primary_groups, pod_enis=pod_enis)
    if config is not None and not _is_same(config, one.pool.config):
        events.append(Configured(config=config))
    if runtime is not one.runtime:
        one.runtime = runtime
        events.append(_holding(runtime))
    wishes = expected_on(needs, runtime, has_erdma=one.pool.config.erdma_enis > 0)
    events.append(Expected(wishes=wishes))
    return events


def said_by_agent(one: NodePool, runtime: NodeRuntime | None) -> NodeRuntimeStatus:
    """Return what a node's agent says; where somebody deleted that, what it said last.

    As long as it is upstream's, what upstream's control plane wrote of who has which address.
    Then it is asked to say it again, once, by a round of the node's resource: it answers each.
    """
    if runtime is not None and not _is_of_upstream(runtime.status):
        one.is_asked_again = False
        return runtime.status
    if not one.pool.enis:
        return SILENT  # a node that has just come
    if not one.is_asked_again:
        one.is_asked_again = True
        one.pool = replace(one.pool, recalls=one.pool.recalls + 1)
    return one.runtime or NodeRuntimeStatus(held=_held_in(one.shown))


def _is_of_upstream(status: NodeRuntimeStatus) -> bool:
    """Return whether this is what upstream Terway's daemon wrote: it says of pods when they came.

    Who has which address it leaves to the node's resource, where its control plane wrote it.
    """
    return not (status.seen or status.held or status.released or status.waiting)


def _held_in(status: NodeStatus) -> dict[str, HeldIP]:
    """Return what pods have, as the node's resource was told it."""
    return {
        address.ip: HeldIP(pod_uid=address.pod_uid, pod_id=address.pod_id)
        for eni in status.network_interfaces.values()
        for address in (*eni.ipv4.values(), *eni.ipv6.values())
        if address.pod_uid or address.pod_id
    }


def primary_groups(event: Observed) -> tuple[SecurityGroupId, ...]:
    """Return the security groups of the instance's primary ENI, as a reading shows them."""
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
