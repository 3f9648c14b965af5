"""Policies of this node, put together: heard of, compiled, in force, proved, told.

View ─► Engine ─► Enforcer ─► kernel ─► Proof ─► StatusWriter
          ▲ PolicyGate: ADD, DEL

The packet filter is nftables, or (`maps`) those of the node's data path in eBPF; or both, where
somebody else translates services in the node's stack.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from random import Random

import structlog

from terway.agent.policy import pages
from terway.agent.policy.bpf_enforcer import BpfEnforcer, Maps
from terway.agent.policy.enforcer import Enforcer
from terway.agent.policy.engine import Engine
from terway.agent.policy.gate import PolicyGate
from terway.agent.policy.nft_enforcer import NftEnforcer
from terway.agent.policy.proof import Proof, Teller
from terway.agent.policy.seats import Seats
from terway.agent.policy.side_by_side import SideBySide
from terway.agent.policy.status import StatusWriter, Tell
from terway.agent.policy.view import View
from terway.agent.readonly import Page
from terway.kube.client import KubeClient
from terway.linux.table_news import follow_table
from terway.linux.workers import Workers
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.exposition import Gauge, Metric
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster
from terway.policy.compiling.compiler import Compiler
from terway.policy.evaluate import evaluate
from terway.policy.flow import Flow, Verdict
from terway.policy.nft.names import TABLE
from terway.policy.nft.skeleton import FlowLog, Options
from terway.policy.policies import Policy

_log = structlog.get_logger("policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the service stands on. `tell_node` warns about the node, `tell` about any object."""

    client: KubeClient
    node: NodeName
    tell_node: Teller
    tell: Tell
    now: Callable[[], float] = time.monotonic
    clock: Callable[[], float] = time.time


class PolicyService:
    """Has the policies of the cluster enforced for the pods of this node."""

    def __init__(
        self,
        outside: Outside,
        *,
        is_rejecting: bool = False,
        maps: Maps | None = None,
        has_tables: bool = True,
    ) -> None:
        now = outside.now
        rng = Random()  # noqa: S311 - waits are drawn from it, not secrets
        compiler = Compiler(outside.node)
        self._now = now
        # One compiles and changes, one compares what was read, one waits for packets.
        self._workers = Workers(3)
        self._touched = asyncio.Event()  # our table at the node, by somebody else
        self._is_followed = False  # the kernel tells of that
        self._has_maps = maps is not None
        self._tables: NftEnforcer | None = None  # None where maps alone are asked
        filters: list[Enforcer] = [] if maps is None else [BpfEnforcer(maps)]
        if has_tables:
            self._tables = NftEnforcer(compiler.compiled, Options(is_rejecting=is_rejecting))
            filters.append(self._tables)
        self._enforcer: Enforcer = SideBySide(*filters)
        self.view = View(outside.client, outside.node, rng=rng, now=now)
        self.seats = Seats()
        self.engine = Engine(
            view=self.view,
            seats=self.seats,
            compiler=compiler,
            enforcer=self._enforcer,
            workers=self._workers,
            now=now,
        )
        self.proof = Proof(
            engine=self.engine,
            enforcer=self._enforcer,
            workers=self._workers,
            teller=outside.tell_node,
            now=now,
            news=self._touched,
            is_all_heard=self._is_all_heard,
        )
        self.engine.on_commit = self.proof.note
        self._gate = PolicyGate(view=self.view, seats=self.seats, engine=self.engine)
        self._status = StatusWriter(
            outside.client,
            outside.node,
            view=self.view,
            engine=self.engine,
            proof=self.proof,
            tell=outside.tell,
            tell_node=outside.tell_node.tell_node,
            judged_inside=lambda: self._tables.judged_inside if self._tables else (),
            clock=outside.clock,
        )

    @property
    def gate(self) -> PolicyGate:
        """Return what ADD and DEL see of it."""
        return self._gate

    def restore(self, attachments: Iterable[Attachment]) -> None:
        """Take over what the journal has; until then, nothing is put in force."""
        self._gate.restore(attachments)

    async def run(self) -> None:
        """Enforce until cancelled. What is in force then stays so."""
        try:
            async with AsyncExitStack() as stack:
                if self._tables is not None:
                    self._is_followed = _follow(stack, self._touched)
                tasks = await stack.enter_async_context(asyncio.TaskGroup())
                for part in (self.view, self.engine, self.proof, self._status):
                    tasks.create_task(part.run(), name=f"policy {type(part).__name__}")
        finally:
            self._workers.close()

    def judge(self, flow: Flow) -> Verdict:
        """Return what the policies say to a connection, and why. UsageError: it has no such end."""
        return evaluate(self.cluster(), self.policies(), flow)

    def cluster(self) -> Cluster:
        """Return the cluster as it has been heard of: a live view."""
        return self.view.cluster()

    def policies(self) -> tuple[Policy, ...]:
        """Return all policies that have been heard of."""
        return self.view.all_policies()

    @property
    def has_tables(self) -> bool:
        """Return whether there are tables of nftables: with maps, where they have services only."""
        return self._tables is not None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the network namespaces of pods that are judged in their own, beside the node."""
        return () if self._tables is None else self._tables.namespaces

    def _is_all_heard(self) -> bool:
        """Return whether the kernel tells of all that others can do to what is in force.

        Of maps it tells nothing, nor of tables inside pods.
        """
        return self._is_followed and not self._has_maps and not self.namespaces

    async def log_flows(self, flow_log: FlowLog | None) -> None:
        """Have the rules of all places tell of connections; None: not any more. Idempotent.

        Of what maps judge the data path's ring tells (`agent/flows/ring`).
        Raises VpcError where a table could not be changed.
        """
        if self._tables is None:
            return
        async with self.engine.turn:
            await self._workers.run(partial(self._tables.log, flow_log))

    async def filled(self) -> None:
        """Return when all that was heard at first is in force."""
        await self.engine.begun.wait()

    def pages(self) -> Mapping[str, Callable[[], Page]]:
        """Return what is shown to tools on the node."""
        return {pages.PATH: self._page}

    def _page(self) -> Page:
        age_s = self._now() - self.proof.outcome.at
        return pages.summary_page(self.view, self.engine, self.proof, age_s=age_s)

    def metrics(self) -> Iterator[Metric]:
        """Yield what there is in numbers."""
        state = self.engine.state
        counts = {"pods": len(self.view.pods.values), "policies": len(self.policies())}
        yield self.engine.enforcing
        yield self.engine.applying
        yield self._gate.waits
        yield from self.proof.metrics()
        yield Gauge(
            name="terway_policy_heard_count",
            text="what has been heard of, by kind",
            values={(("kind", kind),): count for kind, count in counts.items()},
        )
        yield Gauge(
            name="terway_policy_in_force",
            text="1 while the packet filter has all that has been heard of",
            values={(): float(not state.trouble)},
        )
        yield Gauge(
            name="terway_policy_refused_count",
            text="pods inside of which policies are not in force, because their namespace refuses",
            values={(): len(self.engine.refused)},
        )
        yield Gauge(
            name="terway_policy_stale_seconds",
            text="seconds since the API server last said anything of some kind; up to 80 in health",
            values={(): self.view.stale_s},
        )
        yield Gauge(
            name="terway_policy_not_followed_count",
            text="kinds that the API server does not tell of at the moment",
            values={(): len(self.view.troubles)},
        )


def _follow(stack: AsyncExitStack, touched: asyncio.Event) -> bool:
    """Have it known at once when somebody changes our table at the node; return whether it is."""
    try:
        stack.enter_context(follow_table(TABLE, touched))
    except VpcError as error:  # it is looked at every few seconds all the same
        _log.warning("policy.table_not_followed", error=str(error))
        return False
    return True
