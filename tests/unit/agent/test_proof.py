"""What ADD has made is read back later, once, and by nobody who waits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from terway.agent.interfaces import InterfacePolicy
from terway.agent.proof import Proof
from terway.agent.stopwatch import Stopwatch
from terway.agent.turns import Turns
from terway.agent.verbs import Verbs
from terway.cni.call import Gc
from terway.cni.conf import NetworkConf
from terway.model.attachment import AttachmentKey
from terway.model.errors import TransientError
from terway.model.interface import InterfaceSpec
from tests.support.cni import FakeNetwork, FakePool, in_a_minute
from tests.support.records import attachment

FIRST, SECOND = attachment(1), attachment(2)


@dataclass
class Network:
    broken: set[AttachmentKey] = field(default_factory=set)
    failing: set[AttachmentKey] = field(default_factory=set)
    read: list[AttachmentKey] = field(default_factory=list)

    async def prove(self, attachment):
        self.read.append(attachment.key)
        if attachment.key in self.failing:
            raise TransientError("no link")
        is_broken = attachment.key in self.broken
        self.broken.discard(attachment.key)
        return is_broken


def proof_of(network, *held):
    return Proof(network=network, turns=Turns(), held={one.key: one for one in held}.get)


async def test_what_was_made_is_read_back_once():
    network = Network(broken={FIRST.key})
    proof = proof_of(network, FIRST, SECOND)

    proof.note(FIRST)
    proof.note(SECOND)
    await proof.read_back()
    await proof.read_back()

    assert network.read == [FIRST.key, SECOND.key]
    assert not network.broken


async def test_what_has_gone_meanwhile_is_not_looked_for():
    network = Network()
    proof = proof_of(network, SECOND)

    proof.note(FIRST)
    await proof.read_back()

    assert network.read == []


async def test_one_failure_does_not_keep_the_others_from_being_read():
    network = Network(failing={FIRST.key})
    proof = proof_of(network, FIRST, SECOND)

    proof.note(FIRST)
    proof.note(SECOND)
    await proof.read_back()

    assert network.read == [FIRST.key, SECOND.key]


async def test_what_is_being_read_back_is_collected_after_that():
    pool = FakePool()
    verbs = Verbs(
        pool=pool, network=FakeNetwork(), pods=None, clock=in_a_minute, policy=InterfacePolicy()
    )
    made = await pool.acquire(FIRST.key, network="n", netns="/n", pod=None, spec=InterfaceSpec())
    conf = NetworkConf(
        version="1.1.0",
        name="n",
        mtu_bytes=None,
        prev_result=None,
        args={},
        valid_attachments=frozenset(),
    )
    gc = Gc(conf=conf, valid=frozenset())
    watch = Stopwatch(time.monotonic)

    async with asyncio.TaskGroup() as tasks, verbs.turns.turn(made.owner, is_look=True):
        collecting = tasks.create_task(verbs.collect(gc, asked_at=in_a_minute(), watch=watch))
        await asyncio.sleep(0)
        assert verbs.turns.changing == {FIRST.key}

    assert collecting.result() == 1
    assert pool.attachments() == ()
