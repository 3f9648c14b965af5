"""terway-cli flows on nodes: real connections, allowed and denied, with the policy that decided.

Policies are tables of nftables, whose rules log, or maps of eBPF, whose programs tell.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import CONFIG_MAPS, NETWORK_POLICIES
from terway.lab.policy.inforce import SOCKET, wait_in_force
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.linux.netns import entered, open_netns
from terway.model.address import Family
from terway.policy.policies import Direction
from terway.policy.records.recorded import RecordedFlow, Remark, read_line

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

ONLY_CLIENT: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "db-from-client", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "client"}}}],
                "ports": [{"protocol": "TCP", "port": 3306}, {"protocol": "UDP", "port": 53}],
            }
        ],
    },
}

_READ_WATCHING = """
from pathlib import Path
from terway.linux.bpf import map_of, open_pinned
from terway.linux.ebpf.contract import LAYOUT, WATCH_FLOWS, WATCH_LOSSES, WATCHING
fd = open_pinned(Path("/sys/fs/bpf/terway") / str(LAYOUT) / "watching")
flags = WATCHING.integers(map_of(fd).lookup(bytes(4)))["flags"]
print(*["denied"] * bool(flags & WATCH_LOSSES), *["allowed"] * bool(flags & WATCH_FLOWS))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["veth", "datapathv2"])
async def lab(request) -> AsyncIterator[Lab]:
    name, pool = f"f{uuid.uuid4().hex[:8]}", NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    cni = {"eniip_virtual_type": request.param}
    async with open_lab(name=name, nodes=1, pools=(pool,), cni=cni) as lab:
        await lab.kube.create(NETWORK_POLICIES, ONLY_CLIENT)
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"client": "node-1", "near-db": "node-1", "far-db": "eni-1"}
    made = await asyncio.gather(
        *(
            lab.pod(name, node=node, labels={"app": name.rpartition("-")[2]})
            for name, node in places.items()
        )
    )
    sockets = {name: node.inside(SOCKET) for name, node in lab.nodes.items()}
    assert await wait_in_force(lab.kube, sockets) == ()
    return {pod.name: pod for pod in made}


class Followed:
    """The lines of one `terway-cli flows --json` that runs."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines

    async def next(self) -> RecordedFlow | Remark:
        async with asyncio.timeout(PATIENCE_S):
            line = await self._lines.readline()
        return read_line(line.decode())

    async def flow(self) -> RecordedFlow:
        while isinstance(line := await self.next(), Remark):
            assert not line.lost
        return line


@asynccontextmanager
async def following(lab: Lab, node: str, *words: str) -> AsyncIterator[Followed]:
    """Have a node's flows followed for the block; enter when nothing can be missed."""
    # `nsenter` passes no signals on: what it starts asks to be killed when it goes.
    dying = ("setpriv", "--pdeathsig", "KILL")
    command = (*dying, sys.executable, "-u", "-m", "terway.cli", "flows", "--json", *words)
    process = await asyncio.create_subprocess_exec(
        *lab.node(node).words(command), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        followed = Followed(process.stdout)
        line = await followed.next()
        assert isinstance(line, Remark)
        assert line.text.startswith("from here on")
        yield followed
    finally:
        process.kill()
        await process.wait()


def send(source: PodHandle, target: PodHandle, port: int, family: Family, kind: int) -> None:
    """Send the first packet of a connection; nobody waits for an answer."""
    domain = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    with open_netns(source.netns_path) as opened, entered(opened.fd):
        made = socket.socket(domain, kind | socket.SOCK_NONBLOCK)
    with made:
        made.connect_ex((str(target.address(family)), port))
        if kind == socket.SOCK_DGRAM:
            made.send(b"hello")


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("target", "node"), [("near-db", "node-1"), ("far-db", "eni-1")])
async def test_denied_and_allowed_connections_are_told_with_policy_and_rule(
    lab, pods, family, target, node
):
    client, db = pods["client"], pods[target]
    async with following(lab, node, "--from", "client", "--to", target) as flows:
        await asyncio.to_thread(send, client, db, 22, family, socket.SOCK_STREAM)
        denied = await flows.flow()
        await asyncio.to_thread(send, client, db, 3306, family, socket.SOCK_STREAM)
        allowed = await flows.flow()
    assert [str(one.source.pod) for one in (denied, allowed)] == ["default/client"] * 2
    assert [one.source.address for one in (denied, allowed)] == [client.address(family)] * 2
    assert (denied.is_allowed, denied.protocol, denied.port, denied.note) == (False, "TCP", 22, "")
    assert (allowed.is_allowed, allowed.protocol, allowed.port) == (True, "TCP", 3306)
    assert (denied.count, allowed.count) == (1, 1)
    for one in (denied, allowed):
        (side,) = [side for side in one.sides if side.direction is Direction.INGRESS]
        assert side.is_allowed is one.is_allowed
        assert side.policy is not None
        assert (side.policy.namespace, side.policy.name) == ("default", "db-from-client")
    assert next(side.rule for side in allowed.sides if side.direction is Direction.INGRESS) == 0


async def test_only_what_is_asked_for_is_told(lab, pods):
    client, db = pods["client"], pods["near-db"]
    async with following(lab, "node-1", "--verdict", "denied", "--protocol", "udp") as flows:
        for kind, port in (
            (socket.SOCK_STREAM, 23),
            (socket.SOCK_DGRAM, 53),
            (socket.SOCK_DGRAM, 123),
        ):
            await asyncio.to_thread(send, client, db, port, Family.V4, kind)
        flow = await flows.flow()
    assert (flow.protocol, flow.port, flow.is_allowed) == ("UDP", 123, False)


async def told(lab: Lab) -> set[str]:
    """Return of which verdicts a node's rules log, or its programs tell."""
    if lab.plan.cni["eniip_virtual_type"] == "veth":
        rules = await lab.node("node-1").exec("nft", "list", "table", "inet", "terway_policy")
        return {name for name in ("denied", "allowed") if f'log prefix "{name}" group' in rules}
    return set((await lab.node("node-1").exec(sys.executable, "-c", _READ_WATCHING)).split())


async def test_what_is_enforced_while_it_tells_is_as_it_was_wished(lab, pods):
    async with following(lab, "node-1") as _flows:
        assert await told(lab) == {"denied", "allowed"}
        command = (sys.executable, "-m", "terway.cli", "policy", "verify")
        process = await asyncio.create_subprocess_exec(*lab.node("node-1").words(command))
        assert await process.wait() == 0


async def test_nothing_is_told_when_nobody_follows(lab, pods):
    async with following(lab, "node-1"):
        pass
    async with following(lab, "node-1", "--verdict", "denied"):
        # Its wish is in force, so the one before is not any more.
        assert await told(lab) == {"denied"}
    await told_of(lab, set())


async def test_recorded_connections_are_held_against_other_policies(lab, pods, tmp_path):
    client, db = pods["client"], pods["near-db"]
    kept, plan = tmp_path / "flows.jsonl", tmp_path / "plan.yaml"
    async with following(lab, "node-1", "--from", "client", "--write", str(kept)) as flows:
        for port in (3306, 22):
            await asyncio.to_thread(send, client, db, port, Family.V4, socket.SOCK_STREAM)
            await flows.flow()
    swapped = json.dumps(ONLY_CLIENT).replace("3306", "22")
    plan.write_text(swapped)
    command = (sys.executable, "-m", "terway.cli", "policy", "whatif", str(plan))
    words = (*command, "--flows", str(kept), "--now", "cluster", "--json")
    process = await asyncio.create_subprocess_exec(
        *lab.node("node-1").words(words), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 1
    answer = json.loads(output)
    for kind, port in (("newly_denied", 3306), ("newly_allowed", 22)):
        (shift,) = answer[kind]
        assert (shift["source"], shift["destination"]) == ("default/client", "default/near-db")
        assert (shift["port"], shift["so_now"]) == (port, False)


async def configure(lab: Lab, **keys: Any) -> None:
    """Change eni-config as a person would."""
    found = await lab.kube.get(CONFIG_MAPS, "eni-config", namespace="kube-system")
    assert found is not None
    conf = {**json.loads(found.data["eni_conf"]), **keys}
    patch = {"data": {"eni_conf": json.dumps(conf)}}
    await lab.kube.patch(CONFIG_MAPS, "eni-config", patch, namespace="kube-system")


async def told_of(lab: Lab, wanted: set[str]) -> None:
    """Wait until rules or programs of a node tell of these verdicts."""
    async with asyncio.timeout(PATIENCE_S):
        while await told(lab) != wanted:
            await lab.node("node-1").exec("true")


async def test_what_eni_config_wants_recorded_is_kept_while_nobody_follows(lab, pods):
    node, kept = lab.node("node-1"), "/var/lib/cni/terway/flows/flows.jsonl"
    await told_of(lab, set())
    await configure(lab, flow_log="denied")
    await told_of(lab, {"denied"})
    client, db = pods["client"], pods["near-db"]
    await asyncio.to_thread(send, client, db, 2222, Family.V4, socket.SOCK_STREAM)
    async with asyncio.timeout(PATIENCE_S):
        while '"port":2222' not in await node.exec("cat", kept, check=False):
            pass
    assert (await node.exec("stat", "--format=%a", kept)).strip() == "600"
    await configure(lab, flow_log="off")
    await told_of(lab, set())
