"""Who may call the cloud when, with one account for a whole cluster?"""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.controlplane.budget import CallBudget
from terway.lab.cloud.refusal import Refusal
from terway.lab.cloud.throttle import Throttle
from terway.lab.faults.virtual import run_virtually

CREATE = "CreateNetworkInterface"


def make(limit: float = 60.0, *, share: float = 1.0) -> CallBudget:
    loop = asyncio.get_running_loop()
    return CallBudget({CREATE: limit}, share=share, clock=loop.time)


async def take_all(budget, wishes):
    """Let all wish at once; return (who, seconds) in the order of turns."""
    loop = asyncio.get_running_loop()
    begun, turns = loop.time(), []

    async def one(who, newest):
        await budget.take(CREATE, who=who, newest=newest)
        turns.append((who, loop.time() - begun))

    async with asyncio.TaskGroup() as tasks:
        for who, newest in wishes:
            tasks.create_task(one(who, newest))
    return turns


def test_a_minutes_worth_goes_at_once_then_as_it_flows():
    turns = run_virtually(_later(60, [("a", 0.0)] * 90))
    assert [at for _, at in turns[:60]] == [0.0] * 60
    assert abs(turns[-1][1] - 30.0) < 0.1


async def _later(limit, wishes, **options):
    return await take_all(make(limit, **options), wishes)


def test_only_the_declared_share_of_the_account_is_used():
    turns = run_virtually(_later(60, [("a", 0.0)] * 40, share=0.5))
    assert sum(at == 0.0 for _, at in turns) == 30
    assert abs(turns[-1][1] - 20.0) < 0.1


def test_a_node_that_wants_little_does_not_wait_for_one_that_wants_much():
    """Bug class 08: one limit for the account, and nodes that know nothing of each other."""
    wishes = [("greedy", 0.0)] * 50 + [("modest", 0.0)]
    turns = run_virtually(_later(2, wishes))
    assert [who for who, _ in turns].index("modest") <= 4


def test_among_equals_the_newest_pod_comes_first():
    wishes = [("first", 0.0), ("second", 0.0), ("old", 10.0), ("new", 20.0)]
    turns = run_virtually(_later(2, wishes))
    assert [who for who, _ in turns] == ["first", "second", "new", "old"]


def test_nobody_starves_when_500_nodes_join_at_once():
    wishes = [(f"n{node}", float(node)) for _ in range(5) for node in range(500)]
    turns = run_virtually(_later(500, wishes))
    waits = sorted(at for _, at in turns)
    p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    assert p99 <= 3 * p50
    # At most 1.3 times what the limit allows: 2500 calls, of which 500 are free.
    assert waits[-1] <= 1.3 * 240


def test_a_call_given_up_costs_nobody_a_turn():
    async def main():
        budget = make(1)
        await budget.take(CREATE, who="a")
        async with asyncio.TaskGroup() as tasks:
            given_up = tasks.create_task(budget.take(CREATE, who="b"))
            waiting = tasks.create_task(budget.take(CREATE, who="c"))
            await asyncio.sleep(0)
            given_up.cancel()
            await waiting
        return asyncio.get_running_loop().time()

    assert abs(run_virtually(main()) - 1060.0) < 0.1


def test_throttling_halves_the_rate_and_answers_bring_it_back():
    async def main():
        budget = make(600)
        budget.throttled(CREATE, 2.0)
        halved = budget.usage()[0].rate_per_min
        for _ in range(600):
            budget.answered(CREATE)
        return halved, budget.usage()[0].rate_per_min

    halved, later = run_virtually(main())
    assert halved == 300
    assert abs(later - 600) < 1


def test_the_account_throttles_nobody_who_keeps_to_its_share():
    async def main():
        loop = asyncio.get_running_loop()
        budget, account = make(500, share=0.9), Throttle({CREATE: 500})
        refused = 0

        async def one(who):
            nonlocal refused
            await budget.take(CREATE, who=who)
            try:
                account.admit(CREATE, now=loop.time())
            except Refusal:
                refused += 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(3000):
                tasks.create_task(one(f"n{number % 300}"))
        return refused

    assert run_virtually(main()) == 0


def test_with_strangers_in_the_account_throttling_ends_soon():
    """Half of the account is used by others all the time; the budget finds its own half."""

    async def main():
        loop = asyncio.get_running_loop()
        budget, account = make(600, share=0.9), Throttle({CREATE: 300})
        refused = []
        begun = loop.time()

        async def one(who):
            while True:
                await budget.take(CREATE, who=who)
                try:
                    account.admit(CREATE, now=loop.time())
                except Refusal:
                    refused.append(loop.time() - begun)
                    budget.throttled(CREATE, 1.0)
                else:
                    budget.answered(CREATE)
                    return

        async with asyncio.TaskGroup() as tasks:
            for number in range(1500):
                tasks.create_task(one(f"n{number % 300}"))
        return refused, loop.time() - begun

    refused, took = run_virtually(main())
    assert len(refused) < 60
    assert took < 1.6 * (1500 - 300) / 300 * 60


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 9)), min_size=1, max_size=60))
def test_everybody_has_a_turn_and_no_more_than_flows_in(wishes):
    turns = run_virtually(_later(6, wishes))
    assert len(turns) == len(wishes)
    for at in (at for _, at in turns):
        assert sum(t <= at + 1e-6 for _, t in turns) <= 6 + at / 10.0 + 1e-3 * len(turns) + 1


def test_turns_come_at_rates_that_no_float_holds_exactly():
    turns = run_virtually(_later(7 / 3, [("a", 0.0)] * 40, share=0.9))
    assert len(turns) == 40
