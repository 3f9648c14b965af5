"""What others do to the policy tables opens them for a moment, however often, and nobody else's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from terway.datapath.fights import PATIENCE
from terway.lab.world.node import NodeHandle, run_command
from terway.lab.world.plan import KUBE_API
from tests.support.pod_bpf import refusals_of_maps
from tests.support.policy_lab import Crew, PolicyLab, end_of, unique
from tests.support.policy_objects import Object, network_policy, peers
from tests.support.wires import Wires

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

# What root may do by bpf(2): every pod of the node is free.
FREE_ALL = """
from terway.linux.ebpf.pins import Pins
pins = Pins()
sides = pins.open_maps(pins.layouts()[0])["policy_sides"]
for key in list(sides.keys()):
    sides.delete(key)
"""
OPEN, BARRED = 7600, 7601
TABLE = "inet terway_policy"
MENDED_WITHIN_S = 20.0  # what is fought over was once left open for 30
HEARD_WITHIN_S = 60.0
SEEN_WITHIN_S = 10.0  # before a connection that leads nowhere is given up


def into(crew: Crew, part: str) -> Object:
    rule = peers("from", ("UDP", OPEN), pods=crew.labels("client"))
    return network_policy(part, selects=crew.labels(part), ingress=[rule])


def place_of(world: PolicyLab, crew: Crew) -> str:
    """Return the network namespace in which the server's packets are judged."""
    is_inside = crew.pool == "eni"
    return crew.server.netns_path if is_inside else world.lab.node(f"{crew.pool}-2").netns_path


async def nft(netns: str, *words: str) -> str:
    return await run_command(["nsenter", f"--net={netns}", "nft", *words])


async def harm(world: PolicyLab, crew: Crew, words: str) -> None:
    """Do to the rules, or to the maps, what opens the server's pod."""
    if world.is_ebpf:
        await world.lab.node(f"{crew.pool}-2").exec(sys.executable, "-c", FREE_ALL)
    else:
        await nft(place_of(world, crew), words)


@pytest.mark.parametrize(
    "damage", [f"delete table {TABLE}", f"add table {TABLE} {{ flags dormant; }}"]
)
async def test_damage_is_mended_at_once_and_as_often_as_it_is_done(
    world: PolicyLab, crew: Crew, wires: Wires, damage: str
):
    """Bug class 27: others rewrite our rules, again and again."""
    await world.policies(into(crew, "server"))

    for _ in range(PATIENCE + 3):
        assert not await wires.passes(crew.client, crew.server, BARRED)
        await harm(world, crew, damage)
        async with asyncio.timeout(MENDED_WITHIN_S):
            while await wires.passes(crew.client, crew.server, BARRED):
                pass


@asynccontextmanager
async def held_table(netns: str) -> AsyncIterator[None]:
    """Have a process in a pod's namespace hold the table of our name for the block."""
    words = f"add table {TABLE}\ndelete table {TABLE}\nadd table {TABLE} {{ flags owner; }}\n"
    holder = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={netns}", "nft", "-i", stdin=-1, stdout=-3
    )
    assert holder.stdin is not None
    listed = ""
    while "flags owner" not in listed:  # terwayd may have made it in the midst of it
        assert holder.returncode is None
        holder.stdin.write(words.encode())
        await holder.stdin.drain()
        words_of_list = ["nsenter", f"--net={netns}", "nft", "list", "table", *TABLE.split()]
        listed = await run_command(words_of_list, check=False)
    try:
        yield
    finally:
        holder.stdin.close()
        await holder.wait()


@asynccontextmanager
async def grasped(world: PolicyLab, crew: Crew) -> AsyncIterator[None]:
    """Have the server's pod hold what judges it for the block: its table; or try to, maps."""
    if world.is_ebpf:
        refused = await refusals_of_maps(crew.pods["server"])
        assert "opened" not in refused
        assert refused[1:] == ["EPERM", "EPERM"]
        yield
    else:
        async with held_table(crew.server.netns_path):
            yield


@pytest.mark.parametrize("pool", ["eni"])
async def test_a_pod_that_grasps_at_what_judges_it_is_judged_and_keeps_nobody_from_being(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """It may hold a table of its own namespace, and none of the maps, which are the node's."""
    await world.policies(into(crew, "server"))

    async with grasped(world, crew):
        await world.policies(into(crew, "other"), into(crew, "server"))
        async with asyncio.timeout(MENDED_WITHIN_S):
            while await wires.passes(crew.client, crew.server, BARRED):
                pass

        assert not await wires.passes(crew.client, crew.other, BARRED)
        assert await wires.passes(crew.client, crew.other, OPEN)
        assert await wires.passes(crew.client, crew.server, OPEN)
        late = await world.lab.pod("late-beside-it", node=f"{crew.pool}-2")
        await world.lab.delete_pod(late.name)


@asynccontextmanager
async def silent_connections(node: NodeHandle) -> AsyncIterator[None]:
    """Have the node's connections to the API server that there are carry nothing any more."""
    listed = await node.exec("ss", "-Htn", "dst", str(KUBE_API))
    ports = {line.split()[3].rpartition(":")[2] for line in listed.splitlines()}
    # The server must hear that they are given up, or they would outlive the lab.
    rule = f"ip saddr {KUBE_API} tcp dport {{ {', '.join(sorted(ports))} }} drop"
    chain = f"chain back {{\ntype filter hook prerouting priority -300\n{rule}\n}}"
    await node.exec("nft", f"table inet test_silent {{\n{chain}\n}}")
    try:
        yield
    finally:
        await node.exec("nft", "delete", "table", "inet", "test_silent")


@pytest.mark.parametrize("pool", ["node"])
async def test_watches_that_have_become_silent_are_noticed_and_asked_for_anew(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Nobody ends such a connection, and new ones work: only who listens knows nothing of it."""
    await world.policies()

    async with silent_connections(world.lab.node("node-2")):
        assert await wires.passes(crew.client, crew.server, BARRED)
        await world.write(into(crew, "server"))
        async with asyncio.timeout(HEARD_WITHIN_S):
            while await wires.passes(crew.client, crew.server, BARRED):
                await world.lab.node("node-2").exec("true")


@pytest.mark.parametrize("pool", ["node"])
async def test_a_pod_that_starts_while_watches_are_silent_has_its_policies_soon(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """What ADD reads of its pod is more than the watch has told: so others may be silent, too."""
    labels = {"app": "late"}
    rule = peers("from", ("UDP", OPEN), pods=crew.labels("client"))
    await world.policies()

    async with silent_connections(world.lab.node("node-2")):
        await world.write(network_policy("late", selects=labels, ingress=[rule]))
        late = await world.lab.pod(unique("late"), node="node-2", labels=labels)
        async with asyncio.timeout(SEEN_WITHIN_S):
            while await wires.passes(crew.client, end_of(late, crew.family), BARRED):
                pass
    await world.lab.delete_pod(late.name)
