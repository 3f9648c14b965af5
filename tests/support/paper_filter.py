"""A packet filter on paper, and a node's policies over it and over the lab's API server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from terway.agent.policy.engine import Engine
from terway.agent.policy.gate import PolicyGate
from terway.agent.policy.proof import Proof
from terway.agent.policy.seats import Seats
from terway.agent.policy.status import StatusWriter
from terway.agent.policy.view import View
from terway.kube.client import KubeClient
from terway.lab.kubeapi.state import ClusterState
from terway.linux.workers import Workers
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled, RuleSetId, Sides
from terway.policy.compiling.compiler import Compiler
from tests.support.canonical import changed
from tests.support.cluster import make_cluster
from tests.support.kube_server import KubeServer, open_kube_server

NODE = NodeName("n1")
WITHIN_S = 20.0


class PaperFilter:
    """Does what a packet filter does, to a value. Its calls come from worker threads."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing: list[VpcError] = []  # raised by the calls to come
        self.may_go_on = threading.Event()  # cleared: it hangs until it is set
        self.may_go_on.set()
        self.is_asked = threading.Event()  # set whenever a call begins
        self.may_leave = threading.Event()  # cleared: a packet is in what changes leave behind
        self.may_leave.set()
        self.left_behind = 0  # so many changes left something behind
        self.compiled = Compiled()
        self.is_disturbed = False
        self.refused: dict[PodKey, str] = {}
        self.notices: dict[PodKey, str] = {}

    def adopt(self, compiled: Compiled, seats: object) -> None:
        self._begin("adopt")
        self.compiled, self.is_disturbed = compiled, False

    def apply(self, change: Change, seats: object) -> None:
        self._begin("apply")
        self.compiled = changed(self.compiled, change)
        self.left_behind += None in change.rule_sets.values()

    def set_aside(self) -> bool:
        return self.left_behind > 0

    def let_out(self) -> None:
        assert self.may_leave.wait(WITHIN_S)

    def clear_away(self) -> None:
        self.left_behind = 0

    def renew(self, compiled: Compiled, seats: object, places: object) -> None:
        self._begin("renew")
        self.compiled, self.is_disturbed = compiled, False

    def disturbed(self) -> tuple[str, ...]:
        return ("",) if self.is_disturbed else ()

    def read(self, places: object = None) -> PaperFilter:
        self.is_disturbed = False
        return self

    def wrong(self, compiled: Compiled) -> dict[str, tuple[str, ...]]:
        return {} if self.compiled == compiled else {"": ("not as wished",)}

    def remove(self) -> bool:
        self.compiled = Compiled()
        return True

    def flush(self) -> None:
        """Be what somebody else made of it: empty."""
        self.compiled, self.is_disturbed = Compiled(), True

    def disturb(self) -> None:
        """Be what somebody else made of it: with a rule set for a pod that has none."""
        strange = {PodKey(namespace="default", name="strange"): Sides(ingress=RuleSetId(7))}
        self.compiled, self.is_disturbed = replace(self.compiled, sides=strange), True

    def sides(self, name: str) -> Sides | None:
        return self.compiled.sides.get(PodKey(namespace="default", name=name))

    def _begin(self, what: str) -> None:
        self.is_asked.set()
        assert self.may_go_on.wait(WITHIN_S)
        if self.failing:
            raise self.failing.pop(0)
        self.done.append(what)


class PaperNode:
    """The policies of one node over a paper filter."""

    def __init__(self, client: KubeClient, filter_: PaperFilter, *, patience_s: float) -> None:
        self.filter = filter_
        self.told: list[tuple[str, str]] = []  # reason and text of events
        self.inside: tuple[PodKey, ...] = ()  # pods with a table of their own
        self.workers = Workers(2)
        self.view = View(client, NODE, rng=Random(7), now=time.monotonic)
        self.seats = Seats()
        self.engine = Engine(
            view=self.view,
            seats=self.seats,
            compiler=Compiler(NODE),
            enforcer=filter_,
            workers=self.workers,
            now=time.monotonic,
        )
        self.proof = Proof(
            engine=self.engine,
            enforcer=filter_,
            workers=self.workers,
            teller=self,
            now=time.monotonic,
        )
        self.engine.on_commit = self.proof.note
        self.gate = PolicyGate(
            view=self.view, seats=self.seats, engine=self.engine, patience_s=patience_s
        )
        self.status = StatusWriter(
            client,
            NODE,
            view=self.view,
            engine=self.engine,
            proof=self.proof,
            tell=lambda target, reason, text: self.told.append((reason, text)),
            tell_node=self.tell_node,
            judged_inside=lambda: self.inside,
            clock=lambda: 0.0,
        )

    def tell_node(self, reason: str, message: str) -> None:
        self.told.append((reason, message))

    async def settle(self) -> None:
        """Wait until all that has been heard is in force."""
        async with asyncio.timeout(WITHIN_S):
            await self.engine.in_force()

    async def hears(self, kind: str, version: str) -> None:
        """Wait until a kind has been heard of up to a version, and is in force."""
        async with asyncio.timeout(WITHIN_S):
            while int(self.view.heard.get(kind) or 0) < int(version):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)
        await self.settle()


@asynccontextmanager
async def open_paper_node(
    server: KubeServer,
    *,
    filter_: PaperFilter | None = None,
    patience_s: float = WITHIN_S,
    restored: bool = True,
) -> AsyncIterator[PaperNode]:
    """Run a node's policies for the block; `restored` says that the journal was empty."""
    async with KubeClient(server.unix) as client:
        node = PaperNode(client, filter_ or PaperFilter(), patience_s=patience_s)
        if restored:
            node.gate.restore(())
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one.run()) for one in (node.view, node.engine)]
                try:
                    yield node
                finally:
                    for task in running:
                        task.cancel()
        finally:
            node.filter.may_go_on.set()
            node.workers.close()


@asynccontextmanager
async def open_policy_api(folder: Path) -> AsyncIterator[tuple[ClusterState, KubeServer]]:
    """Serve a cluster of one node for the block."""
    state = make_cluster()
    async with open_kube_server(state, folder) as server:
        yield state, server
