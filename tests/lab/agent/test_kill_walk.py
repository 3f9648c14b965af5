"""kill -9 of terwayd at every await point of ADD, DEL and pool growth, then a restart.

No address and no ENI is lost, given twice or leaked, and a pod that runs loses no packet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from terway.ipam.settings import PoolConfig
from tests.support.emulated_node import EmulatedCloud, emulated_cloud
from tests.support.kernel_node import WORLD_V4, WORLD_V6, KernelNode, kernel_node, sh
from tests.support.kill_walk import (
    Life,
    Nursery,
    addresses_of,
    ask,
    check_world,
    enis_of,
    eventually,
    open_nursery,
    read_state,
    succeeds,
)

pytestmark = pytest.mark.root

# More steps than any operation has: a walk that does not end is a failure.
MOST_STEPS = 2000
# Longer than all that goes on after an answer: the reading back, the reaper, the pool's clock.
QUIET_S = 2.0


@dataclass
class Walk:
    """A node with one running pod, `steady`, and another, `victim`, that comes and goes."""

    world: EmulatedCloud
    nursery: Nursery
    config: PoolConfig
    life: Life
    victim: str

    async def ask(self, verb, **conf):
        return await ask(self.nursery.folder, verb, "victim", self.victim, **conf)

    async def state(self):
        return await read_state(self.nursery.folder)

    async def restart(self):
        self.life = await self.nursery.start(self.config)

    async def dies_at(self, step, verb, *, quiet_s):
        """Ask for `verb` with death at `step`; return whether it came to that."""
        await self.nursery.count(self.life, kill_at=step)
        answer = await self.ask(verb)
        assert answer is None or answer.exit_code == 0, answer
        died = await self.nursery.died(within_s=20.0 if answer is None else quiet_s)
        return died or not await self.nursery.spare(self.life)

    async def dies_after(self, delay_s, verb):
        """Ask for `verb`, and kill terwayd `delay_s` later, wherever it is then."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.ask(verb))
            await asyncio.sleep(delay_s)
            await self.nursery.end(self.life)

    async def add(self):
        answer = await succeeds(self.ask("ADD"))
        await succeeds(self.ask("CHECK", prevResult=answer.json))

    async def delete(self):
        await succeeds(self.ask("DEL"))

    async def comes_to_rest(self, enis):
        """Wait until the cloud has `enis` again, and terwayd knows exactly these."""

        async def is_at_rest():
            return self.is_at_rest(await self.state(), enis)

        await eventually(is_at_rest)

    def is_at_rest(self, state, enis):
        pool = state["pool"]
        counted = sum(pool[phase] for phase in ("free", "bound", "cooling", "retiring"))
        return (
            enis_of(self.world) == enis
            and {one["id"] for one in state["enis"]} == enis.keys()
            and counted == sum(enis.values())
            and pool["coming"] == 0
        )


@asynccontextmanager
async def packets_of(machine: KernelNode, netns: str) -> AsyncIterator[None]:
    """Send packets from a pod through its ENI for the block, and miss none of the answers."""
    words = ("nsenter", f"--net={netns}", "ping", "-n", "-q", "-i", "0.01")
    streams = [
        await asyncio.create_subprocess_exec(*words, address, stdout=asyncio.subprocess.PIPE)
        for address in (WORLD_V4, WORLD_V6)
    ]
    try:
        yield
    finally:
        for stream in streams:
            stream.send_signal(2)  # ping then writes its statistics
        said = [(await stream.communicate())[0].decode() for stream in streams]
    for text in said:
        sent, received = re.findall(r"(\d+) packets transmitted, (\d+) received", text)[0]
        assert int(sent) > 50, text
        assert int(sent) - int(received) <= 1, text  # the last may be on its way


@asynccontextmanager
async def walking(tmp_path, *, warm: int, **pool: object) -> AsyncIterator[Walk]:
    """Set up a walk: `warm` free addresses beside the steady pod's, settings as `pool` says."""
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        async with emulated_cloud(machine) as world, open_nursery(world, tmp_path) as nursery:
            steady = machine.pod()
            life = await nursery.start(world.pool_config(min_free=warm, max_free=warm))
            await succeeds(ask(tmp_path, "ADD", "steady", steady))
            (one,) = (await read_state(tmp_path))["attachments"]
            machine.know(*addresses_of(one), mac=one["lease"]["eni_mac"], far="vpc-eth1")

            async def is_warm():
                return (await read_state(tmp_path))["pool"]["free"] >= 2 * warm

            await eventually(is_warm)
            await nursery.end(life)
            config = world.pool_config(**pool)
            life = await nursery.start(config)
            walk = Walk(world, nursery, config, life, machine.pod())
            async with packets_of(machine, steady):
                yield walk
            await nursery.end(walk.life)


# An address is free: the journal and the kernel, no cloud.
WARM = {"warm": 3, "min_free": 0, "max_free": 10}
# None is: an address is assigned for the pod, and given back a moment after it has gone.
ASSIGN = {"warm": 0, "trim_after_s": 0.05, "min_free": 0, "max_free": 0}
# The ENIs are full: one is created, attached, and in the end detached and deleted.
CREATE = {**ASSIGN, "max_enis": 2, "ipv4_per_eni": 1, "ipv6_per_eni": 1}

WALKS: dict[str, dict[str, Any]] = {
    "with a free address": WARM,
    "with an assignment": ASSIGN,
    "with a new ENI": CREATE,
}


@pytest.mark.parametrize("way", WALKS)
async def test_killed_at_any_step_of_an_ADD(tmp_path, way):
    """Bug class 3: an address that is taken before the result is there."""
    async with walking(tmp_path, **WALKS[way]) as walk:
        enis = enis_of(walk.world)
        for step in range(1, MOST_STEPS):
            died = await walk.dies_at(step, "ADD", quiet_s=0.2)
            if died:
                await walk.restart()
            check_world(walk.world, await walk.state())
            if step % 2:
                await walk.add()  # the runtime tries again
            await walk.delete()  # the runtime gives up, or the pod ends
            await walk.comes_to_rest(enis)
            check_world(walk.world, await walk.state())
            if not died:
                break
        assert step > 10


@pytest.mark.parametrize("way", WALKS)
async def test_killed_at_any_step_of_a_DEL_and_of_what_follows_it(tmp_path, way):
    async with walking(tmp_path, **WALKS[way]) as walk:
        enis = enis_of(walk.world)
        for step in range(1, MOST_STEPS):
            await walk.add()
            died = await walk.dies_at(step, "DEL", quiet_s=QUIET_S)
            if died:
                await walk.restart()
            check_world(walk.world, await walk.state())
            await walk.delete()
            await walk.comes_to_rest(enis)
            check_world(walk.world, await walk.state())
            if not died:
                break
        assert step > 10


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
async def test_killed_at_any_moment(tmp_path, verb):
    # Between two steps of the loop, the threads that talk to the kernel and to the disk are at
    # work: the clock kills them there.
    async with walking(tmp_path, **WARM) as walk:
        enis = enis_of(walk.world)
        for tenths_of_ms in range(0, 60, 2):
            if verb == "DEL":
                await walk.add()
            await walk.dies_after(tenths_of_ms / 10_000, verb)
            await walk.restart()
            check_world(walk.world, await walk.state())
            await walk.add()
            await walk.delete()
            await walk.comes_to_rest(enis)
            check_world(walk.world, await walk.state())
