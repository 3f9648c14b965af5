"""When is the kernel read back? Once it is quiet after a change, and when others were at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from terway.agent.policy.proof import LOOK_EVERY_S, LOOK_SELDOM_S, PROVE_EVERY_S, Proof
from terway.policy.compiled import Change, RuleSetId
from tests.support.paper_filter import PaperNode, open_paper_node, open_policy_api

STRUCTURE = Change(rule_sets={RuleSetId(1): None})


@pytest.fixture
async def node(tmp_path) -> AsyncIterator[PaperNode]:
    async with open_policy_api(tmp_path) as (_, server), open_paper_node(server) as node:
        await node.settle()
        yield node


class Timed:
    """A proof on a clock of its own; `busy` is called with the seconds that have passed."""

    def __init__(self, node: PaperNode) -> None:
        self.now = 1000.0
        self.at: list[float] = []
        self.proof = Proof(
            engine=node.engine,
            enforcer=node.filter,
            workers=node.workers,
            teller=node,
            now=lambda: self.now,
            sleep=self._sleep,
        )
        self._until = 0.0
        self._busy = lambda: None

    async def run(self, seconds, busy=lambda: None):
        """Let `seconds` pass, `busy` each of them; return at which of them it was proved."""
        began, self._until, self._busy = self.now, self.now + seconds, busy
        self.at = []
        with pytest.raises(asyncio.CancelledError):
            await self.proof.run()
        return [at - began for at in self.at]

    async def _sleep(self, seconds):
        if self.proof.outcome.at and self.proof.outcome.at not in self.at:
            self.at.append(self.proof.outcome.at)
        if self.now >= self._until:
            raise asyncio.CancelledError
        self.now += seconds
        self._busy()


@pytest.fixture
async def timed(node) -> Timed:
    timed = Timed(node)
    await timed.run(2)  # the first
    return timed


async def test_a_change_of_structure_is_proved_once_it_is_quiet(timed):
    timed.proof.note(STRUCTURE)

    (_, at) = await timed.run(10)

    assert at == 1


async def test_pods_that_come_and_go_call_for_no_proof(timed):
    assert len(await timed.run(60, busy=lambda: timed.proof.note(Change()))) == 1


async def test_while_all_changes_it_is_proved_now_and_then_all_the_same(timed):
    seconds = 2 * PROVE_EVERY_S

    proved = await timed.run(seconds, busy=lambda: timed.proof.note(STRUCTURE))

    assert 1 < len(proved) <= 4


async def test_what_others_do_to_nftables_is_looked_at_soon(timed, node):
    node.filter.disturb()

    proved = await timed.run(2 * LOOK_EVERY_S)

    assert proved[-1] <= LOOK_EVERY_S + 1
    assert node.told[0][0] == "NetworkPolicyDiffers"


@pytest.mark.parametrize(("is_all_heard", "rest_s"), [(True, LOOK_SELDOM_S), (False, LOOK_EVERY_S)])
async def test_an_idle_node_looks_seldom_where_the_kernel_tells_of_every_place(
    node, is_all_heard, rest_s
):
    proof = Proof(
        engine=node.engine,
        enforcer=node.filter,
        workers=node.workers,
        teller=node,
        now=lambda: 1000.0,
        news=asyncio.Event(),
        is_all_heard=lambda: is_all_heard,
    )

    assert proof.rest_s() == rest_s
    proof.note(STRUCTURE)
    assert proof.rest_s() == LOOK_EVERY_S  # what is to be proved waits for a second of quiet
