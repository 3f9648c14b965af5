"""Turns are taken in order; the gate lets many in, or one alone."""

from __future__ import annotations

import asyncio

from terway.agent.gate import Gate
from terway.agent.turns import Turns
from terway.model.attachment import AttachmentKey
from terway.model.ids import ContainerId

A = AttachmentKey(container_id=ContainerId("a"), ifname="eth0")
B = AttachmentKey(container_id=ContainerId("b"), ifname="eth0")


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_turns_at_one_key_are_taken_in_the_order_of_asking():
    turns, seen = Turns(), []

    async def work(name):
        async with turns.turn(A):
            seen.append(f"{name} begins")
            await asyncio.sleep(0)
            seen.append(f"{name} ends")

    await asyncio.gather(*(work(name) for name in "123"))

    assert seen == [f"{name} {what}" for name in "123" for what in ("begins", "ends")]


async def test_another_key_does_not_wait_and_nothing_is_kept():
    turns = Turns()
    async with turns.turn(A):
        async with turns.turn(B):
            assert turns.busy == {A, B}
        assert turns.busy == {A}
    assert turns.busy == frozenset()


async def test_a_turn_that_is_given_up_does_not_block_the_next():
    turns = Turns()
    async with turns.turn(A):
        waiting = asyncio.ensure_future(turns.turn(A).__aenter__())
        await settle()
        waiting.cancel()
        await settle()
    async with turns.turn(A):
        assert turns.busy == {A}


async def test_who_only_reads_back_changes_nothing():
    turns = Turns()
    async with turns.turn(A, is_look=True):
        assert turns.busy == {A}
        assert turns.changing == frozenset()
        waiting = asyncio.ensure_future(turns.turn(A).__aenter__())
        await settle()
        assert turns.changing == {A}
        waiting.cancel()
        await settle()
    assert turns.busy == frozenset()


async def test_the_gate_keeps_others_out_while_one_is_alone():
    gate, seen = Gate(), []

    async def alone():
        async with gate.alone():
            seen.append("alone")
            await settle()
            seen.append("done")

    async def shared(name):
        async with gate.shared():
            seen.append(name)

    async with asyncio.TaskGroup() as tasks, gate.shared(), gate.shared():
        tasks.create_task(alone())
        await settle()
        assert seen == []
        tasks.create_task(shared("late"))
        await settle()
    assert seen == ["alone", "done", "late"]
