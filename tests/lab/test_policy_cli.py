"""What people see of policy on real nodes: verify, why, doctor, diff, and a bundle of all that."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import NETWORK_POLICIES
from terway.lab.policy.inforce import SOCKET, wait_in_force
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.waiting import PATIENCE_S

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

DB_FROM_WEB: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "db-from-web", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                "ports": [{"protocol": "TCP", "port": 5432}],
            }
        ],
    },
}
PLACES = {"web": "node-1", "db": "node-1", "own-db": "eni-1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    pool = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    async with open_lab(name=f"p{uuid.uuid4().hex[:8]}", nodes=1, pools=(pool,)) as lab:
        await lab.kube.create(NETWORK_POLICIES, DB_FROM_WEB)
        for name, node in PLACES.items():
            await lab.pod(name, node=node, labels={"app": name.rpartition("-")[2]})
        sockets = {name: node.inside(SOCKET) for name, node in lab.nodes.items()}
        assert await wait_in_force(lab.kube, sockets) == ()
        yield lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int
    text: str

    @property
    def value(self) -> Any:
        return json.loads(self.text)


async def ask(lab: Lab, node: str, *words: str) -> Answer:
    """Run terway-cli on a node, as a person with keys of their own would."""
    assert lab.services is not None
    keys = (
        f"ALIBABA_CLOUD_ACCESS_KEY_ID={lab.services.access_key_id}",
        f"ALIBABA_CLOUD_ACCESS_KEY_SECRET={lab.services.access_key_secret}",
    )
    command = ("env", *keys, sys.executable, "-m", "terway.cli", *words)
    return await answer_of(*lab.node(node).words(command))


async def answer_of(*command: str) -> Answer:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert output, errors.decode()
    assert process.returncode is not None
    return Answer(code=process.returncode, text=output.decode())


@asynccontextmanager
async def broken(lab: Lab, node: str, *command: str, pod: str = "") -> AsyncIterator[None]:
    """Break something while terwayd stands still; afterwards it mends, and that is waited for."""
    handle = lab.node(node)
    pid = str(handle.agent_pid)
    await handle.exec("kill", "-STOP", pid)
    try:
        inside = await netns_of(lab, node, pod) if pod else ()
        await handle.exec(*inside, *command)
        yield
    finally:
        await handle.exec("kill", "-CONT", pid)
        async with asyncio.timeout(PATIENCE_S):
            while (await ask(lab, node, "policy", "verify")).code:
                await handle.exec("true")


async def netns_of(lab: Lab, node: str, pod: str) -> tuple[str, ...]:
    """Return the words that run a command in the network namespace of a pod of a node."""
    shown = (await ask(lab, node, "show", "--json")).value
    found = {one["pod"]["name"]: one["netns"] for one in shown["journal"]["attachments"]}
    return ("nsenter", f"--net={found[pod]}")


def failures(answer: Answer) -> dict[str, list[str]]:
    """Return the differences that verify tells, by place."""
    return {one["where"]: one["differences"] for one in answer.value["checked"]}


async def test_verify_compares_node_and_pods_and_finds_them_equal(lab):
    shared = await ask(lab, "node-1", "policy", "verify", "--json")
    exclusive = await ask(lab, "eni-1", "policy", "verify", "--json")

    assert (shared.code, failures(shared)) == (0, {"the node": []})
    assert exclusive.code == 0
    assert failures(exclusive) == {"the node": [], "inside pod default/own-db": []}


async def test_a_rule_that_somebody_adds_is_named_by_verify_and_told_when_it_is_mended(lab):
    rule = ("nft", "insert", "rule", "inet", "terway_policy", "forward", "accept")
    async with broken(lab, "node-1", *rule):
        found = await ask(lab, "node-1", "policy", "verify", "--json")

    assert found.code == 1
    assert any("forward" in text for text in failures(found)["the node"])
    async with asyncio.timeout(PATIENCE_S):  # it is mended first, and told then
        while "NetworkPolicyDiffers" not in (await ask(lab, "node-1", "events")).text:
            pass


async def test_a_table_that_is_missing_inside_of_a_pod_is_named(lab):
    gone = ("nft", "delete", "table", "inet", "terway_policy")
    async with broken(lab, "eni-1", *gone, pod="own-db"):
        found = await ask(lab, "eni-1", "policy", "verify", "--json")

    assert found.code == 1
    assert failures(found)["the node"] == []
    assert "there is no table of ours" in failures(found)["inside pod default/own-db"][0]


async def test_doctor_names_a_table_that_was_deleted_while_terwayd_is_down(lab):
    gone = ("nft", "delete", "table", "inet", "terway_policy")
    async with broken(lab, "node-1", *gone):
        found = (await ask(lab, "node-1", "doctor", "--json")).value["findings"]

    whats = [one["what"] for one in found if one["severity"] == "error"]
    assert sorted(whats) == ["table inet terway_policy of nftables is missing", "terwayd is down"]


async def test_why_names_the_policy_that_denies_and_the_one_that_allows(lab):
    denied = await ask(lab, "node-1", "why", "web", "db:80", "--family", "4", "--json")
    allowed = await ask(lab, "node-1", "why", "web", "own-db:5432", "--family", "6", "--json")

    assert (denied.code, allowed.code) == (1, 0)
    for answer, word in ((denied, "isolates the pod"), (allowed, "allows it")):
        (explained,) = answer.value
        last = explained["hops"][-1]
        assert last["where"] == "policies"
        assert "NetworkPolicy default/db-from-web" in last["text"]
        assert word in last["text"]


async def test_a_bundle_answers_what_the_node_would(lab, tmp_path: Path):
    path = str(tmp_path / "eni-1.tar.gz")
    await ask(lab, "eni-1", "support-bundle", "--output", path)
    offline = (sys.executable, "-m", "terway.cli")

    verified = await answer_of(*offline, "policy", "verify", "--bundle", path, "--json")
    walked = await answer_of(*offline, "why", "own-db", "db:80", "--bundle", path)
    ends = ("--from", "default/web", "--to", "default/db", "--port", "80")
    reached = await answer_of(*offline, "policy", "eval", "-f", path, *ends)

    assert verified.code == 0
    assert failures(verified) == {"the node": [], "inside pod default/own-db": []}
    assert (walked.code, reached.code) == (1, 1)
    assert "default/db-from-web" in walked.text


async def test_a_plan_is_compared_with_the_live_cluster(lab, tmp_path: Path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(json.dumps(DB_FROM_WEB).replace("5432", "3306"))

    same = await ask(lab, "node-1", "policy", "equal", "@live", "@live")
    changed = await ask(lab, "node-1", "policy", "diff", "@live", str(plan), "--json")

    assert (same.code, same.text) == (0, "equal, in this cluster of 3 pods\n")
    assert changed.code == 1
    ports = {(one["becomes"], one["ports"][0]["first"]) for one in changed.value}
    assert ports == {("allow", 3306), ("deny", 5432)}
