"""terway-cli against real faults: each is made in the kernel or the cloud, and must be named."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import NAMESPACES
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.cloud.records import ENIRecord
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int
    output: str

    @property
    def value(self) -> Any:
        return json.loads(self.output)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    pool = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=2, pools=(pool,)) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "node-1", "near": "node-1", "far": "node-2", "own": "eni-1"}
    made = await asyncio.gather(*(lab.pod(name, node=node) for name, node in places.items()))
    return {pod.name: pod for pod in made}


async def run(lab: Lab, *words: str, node: str = "node-1") -> Answer:
    """Run terway-cli on a node as a person with keys of their own would; --json."""
    assert lab.services is not None
    keys = (
        f"ALIBABA_CLOUD_ACCESS_KEY_ID={lab.services.access_key_id}",
        f"ALIBABA_CLOUD_ACCESS_KEY_SECRET={lab.services.access_key_secret}",
    )
    command = ("env", *keys, sys.executable, "-m", "terway.cli", *words)
    process = await asyncio.create_subprocess_exec(
        *lab.node(node).words(command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode in (0, 1), errors.decode()
    assert output, errors.decode()
    return Answer(code=process.returncode or 0, output=output.decode())


async def why(lab: Lab, *words: str, node: str = "node-1") -> list[dict[str, Any]]:
    """Return the hops of the one packet that was asked about."""
    answer = await run(lab, "why", *words, "--json", node=node)
    (explained,) = answer.value
    hops: list[dict[str, Any]] = explained["hops"]
    assert answer.code == (1 if hops[-1]["state"] == "FAIL" else 0)
    return hops


@asynccontextmanager
async def nobody_mends(lab: Lab, name: str = "node-1") -> AsyncIterator[None]:
    """Stop terwayd where it stands, so that a fault lasts long enough to be looked at."""
    node = lab.node(name)
    pid = str(node.agent_pid)
    await node.exec("kill", "-STOP", pid)
    try:
        yield
    finally:
        await node.exec("kill", "-CONT", pid)


@asynccontextmanager
async def broken(
    lab: Lab, break_it: str, mend_it: str, *, name: str = "node-1"
) -> AsyncIterator[None]:
    node = lab.node(name)
    async with nobody_mends(lab, name):
        await node.exec("sh", "-c", break_it)
        try:
            yield
        finally:
            await node.exec("sh", "-c", mend_it, check=False)


def eni_of(lab: Lab, pod: PodHandle) -> ENIRecord:
    address = pod.address(Family.V4)
    return next(one for one in lab.cloud.world.state.enis.values() if address in one.ipv4)


def link_and_table(shown: str) -> tuple[str, str]:
    """Return the link and table of the pods' ENI from `ip route show table all`."""
    found = re.search(r"^default .*dev (\S+) table (1\d{3})\b", shown, re.MULTILINE)
    assert found is not None
    return found[1], found[2]


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("end", ["near", "far"])
async def test_a_packet_that_arrives_is_walked_to_its_end(
    lab: Lab, pods: dict[str, PodHandle], end: str, family: str
) -> None:
    hops = await why(lab, "a", f"{end}:8080", "--family", family)

    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    assert len(hops) > 5


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize(("pod", "node"), [("a", "node-1"), ("own", "eni-1")])
async def test_another_node_is_walked_to_in_both_families(
    lab: Lab, pods: dict[str, PodHandle], pod: str, node: str, family: str
) -> None:
    hops = await why(lab, pod, "node-2", "--family", family, node=node)

    far = [(one["what"], one["state"]) for one in hops if one["where"] == "node-2"]
    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    assert far == [("instance", "ok"), ("node", "ok"), ("not looked at", "?")]


async def test_all_four_agree_about_a_healthy_node(lab: Lab, pods: dict[str, PodHandle]) -> None:
    async with asyncio.timeout(PATIENCE_S):  # addresses may be on their way from the cloud
        while (answer := await run(lab, "mapping", "--json")).code != 0:
            pass

    owners = {row["address"]: row["journal"] for row in answer.value["rows"]}
    assert owners[str(pods["a"].address(Family.V4))] == "default/a"


async def test_a_healthy_node_has_no_error(lab: Lab, pods: dict[str, PodHandle]) -> None:
    answer = await run(lab, "doctor", "--json")

    found = answer.value["findings"]
    assert [one["what"] for one in found if one["severity"] == "error"] == []


async def test_show_and_metadata_fit_80_columns(lab: Lab, pods: dict[str, PodHandle]) -> None:
    listed = (["show"], ["mapping"], ["doctor"], ["metadata"], ["events"], ["why", "a", "near"])
    for words in listed:
        answer = await run(lab, *words)
        lines = answer.output.splitlines()
        assert [line for line in lines if len(line) > 80 and " -> " not in line] == [], words
    assert "default/a" in (await run(lab, "show")).output


@pytest.mark.parametrize("family", [Family.V4, Family.V6], ids=["ipv4", "ipv6"])
async def test_a_missing_rule_from_the_pod_is_named_mapped_and_mended(
    lab: Lab, pods: dict[str, PodHandle], family: Family
) -> None:
    address = str(pods["a"].address(family))
    ip = f"ip -{family.value}"
    shown = await lab.node("node-1").exec("ip", "-4", "route", "show", "table", "all")
    _, table = link_and_table(shown)
    rule = f"from {address} priority 2048"

    async with broken(
        lab, f"{ip} rule delete {rule}", f"{ip} rule add {rule} lookup {table} || true"
    ):
        hops = await why(lab, "a", "far", "--family", str(family.value))
        mapped = (await run(lab, "mapping", "--json")).value["rows"]
        found = (await run(lab, "doctor", "--json")).value["findings"]
        mended = (await run(lab, "doctor", "--fix", "--json")).value
        after = await why(lab, "a", "far", "--family", str(family.value))

    assert (hops[-1]["state"], hops[-1]["what"]) == ("FAIL", "routing")
    assert f"rule 2048 from {address} lookup {table} is missing" in hops[-1]["text"]
    assert f"rule add from {address}" in hops[-1]["remedy"]
    assert [row["address"] for row in mapped if any("rule 2048" in d for d in row["differences"])]
    assert any("default/a" in one["what"] for one in found)
    assert any(f"from {address}" in line for line in mended["done"])
    assert after[-1]["state"] != "FAIL"


async def test_a_missing_route_to_a_pod_of_the_node_is_named(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    address = str(pods["near"].address(Family.V4))
    route = (await lab.node("node-1").exec("ip", "route", "show", address)).strip()

    async with broken(lab, f"ip route delete {address}", f"ip route replace {route}"):
        hops = await why(lab, "a", "near", "--family", "4")

    assert (hops[-1]["state"], hops[-1]["what"]) == ("FAIL", "routing")
    assert f"route {address}/32" in hops[-1]["text"]


async def test_an_eni_link_that_is_down_is_named_and_found(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    shown = await lab.node("node-1").exec("ip", "-4", "route", "show", "table", "all")
    link, _ = link_and_table(shown)

    async with broken(lab, f"ip link set {link} down", f"ip link set {link} up"):
        hops = await why(lab, "a", "far", "--family", "4")
        found = (await run(lab, "doctor", "--json")).value["findings"]
        await run(lab, "doctor", "--fix")
        after = await why(lab, "a", "far", "--family", "4")

    assert hops[-1]["text"] == f"{link} is down"
    assert any(one["what"] == f"link {link} is down" for one in found)
    assert after[-1]["state"] != "FAIL"


async def test_a_pod_link_that_is_down_is_named(lab: Lab, pods: dict[str, PodHandle]) -> None:
    async with nobody_mends(lab):
        await pods["a"].exec("ip", "link", "set", "eth0", "down")
        hops = await why(lab, "a", "far", "--family", "4")
        await pods["a"].exec("ip", "link", "set", "eth0", "up")

    assert hops[-1]["where"] == "pod default/a"
    assert hops[-1]["text"] == "eth0 is down"
    async with asyncio.timeout(PATIENCE_S):  # others look at this pod as well
        while (await why(lab, "a", "far", "--family", "4"))[-1]["state"] == "FAIL":
            pass


async def test_forwarding_that_somebody_switched_off_is_named(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    path = "/proc/sys/net/ipv4/ip_forward"
    async with broken(lab, f"echo 0 > {path}", f"echo 1 > {path}"):
        hops = await why(lab, "near", "far", "--family", "4")
        found = (await run(lab, "doctor", "--json")).value["findings"]

    assert hops[-1]["what"] == "forwarding"
    assert any("net/ipv4/ip_forward" in one["why"] for one in found)


async def test_an_address_that_the_cloud_took_away_is_named_mapped_and_found(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    eni, address = eni_of(lab, pods["near"]), pods["near"].address(Family.V4)
    without = replace(eni, ipv4=tuple(one for one in eni.ipv4 if one != address))

    async with nobody_mends(lab):
        lab.cloud.world.state.put(without)
        try:
            hops = await why(lab, "near", "far", "--family", "4")
            mapped = (await run(lab, "mapping", "--differences", "--json")).value["rows"]
            found = (await run(lab, "doctor", "--json")).value["findings"]
        finally:
            lab.cloud.world.state.put(eni)

    assert (hops[-1]["state"], hops[-1]["what"]) == ("FAIL", "source check")
    row = next(one for one in mapped if one["address"] == str(address))
    assert "the cloud does not have it" in row["differences"][0]
    assert any(str(address) in one["what"] for one in found)


async def test_a_security_group_that_drops_is_named(lab: Lab, pods: dict[str, PodHandle]) -> None:
    group = lab.cloud.world.state.group(eni_of(lab, pods["a"]).security_group_ids[0])
    closed = replace(group, inner_access=False, rules=())
    lab.cloud.world.state.put(closed)
    try:
        hops = await why(lab, "a", "far:8080", "--family", "4")
    finally:
        lab.cloud.world.state.put(group)

    assert (hops[-1]["state"], hops[-1]["what"]) == ("FAIL", "security group, in")
    assert f"AuthorizeSecurityGroup --SecurityGroupId {group.id}" in hops[-1]["remedy"]


async def test_an_address_that_nobody_has_is_named(lab: Lab, pods: dict[str, PodHandle]) -> None:
    hops = await why(lab, "a", "192.168.200.200", "--family", "4")

    assert (hops[-1]["state"], hops[-1]["what"]) == ("FAIL", "receiving ENI")


async def test_a_bundle_answers_as_the_node_did_and_has_no_secret(
    lab: Lab, pods: dict[str, PodHandle], tmp_path: Path
) -> None:
    await run(lab, "support-bundle", "--output", "/run/b.tgz")
    bundle = tmp_path / "b.tgz"
    bundle.write_bytes(lab.node("node-1").inside("/run/b.tgz").read_bytes())

    answers = [
        await offline(*words, "--bundle", str(bundle))
        for words in (["show"], ["mapping"], ["why", "a", "near", "--family", "4"])
    ]

    assert [one.code for one in answers] == [0, 0, 0]
    assert "default/a" in answers[0].output
    assert "no hop is known to fail" in answers[2].output
    assert lab.services is not None
    assert lab.services.access_key_secret.encode() not in bundle.read_bytes()


async def test_a_capture_at_both_ends_pairs_every_packet_of_a_conversation(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    far = str(pods["far"].address(Family.V4))
    words = ("capture", "a", "--both", "--host", far, "--count", "6", "--seconds", "120", "--json")
    process = await asyncio.create_subprocess_exec(
        *lab.node("node-1").words((sys.executable, "-m", "terway.cli", *words)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"capturing" not in await process.stderr.readline():
        assert process.returncode is None

    await pods["a"].exec("ping", "-c3", "-i0.2", far)
    output, _ = await process.communicate()

    crossings = json.loads(output)["crossings"]
    assert len(crossings) == 6  # three requests, three answers
    assert all(
        f"icmp {pods['a'].address(Family.V4)}" in one["flow"] or far in one["flow"]
        for one in crossings
    )
    assert [one for one in crossings if one["latency_ns"] is None] == []


async def test_every_path_of_a_healthy_cluster_works_and_nothing_is_left(lab: Lab) -> None:
    """Bug class 60: what a test of a real cluster leaves behind."""
    answer = await run(lab, "connectivity-test", "--timeout", "120", "--json")

    outcomes = answer.value
    assert [one for one in outcomes if one["error"]] == []
    tried = [one for one in outcomes if not one["skipped"]]
    assert {one["what"] for one in tried} == {"tcp", "MTU"}
    assert {one["source"] for one in outcomes} >= {"pod on node-1", "node node-2"}
    assert lab.kube is not None
    assert await lab.kube.get(NAMESPACES, "terway-connectivity-test") is None


async def test_a_test_that_is_interrupted_leaves_nothing(lab: Lab) -> None:
    node = lab.node("node-1")
    process = await asyncio.create_subprocess_exec(
        *node.words((sys.executable, "-m", "terway.cli", "connectivity-test")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"a server pod" in await process.stderr.readline()

    # nsenter has become a parent: what a terminal would send to both is sent to the child.
    find = "tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q 'terway.cli connectivity-[t]est'"
    interrupt = f"for p in /proc/[0-9]*; do {find} && kill -INT ${{p#/proc/}}; done; true"
    await node.exec("sh", "-c", interrupt)
    await process.communicate()

    assert process.returncode != 0
    assert lab.kube is not None
    async with asyncio.timeout(PATIENCE_S):
        while await lab.kube.get(NAMESPACES, "terway-connectivity-test") is not None:
            await node.exec("true")


async def only_own_pods(lab: Lab, node: str) -> None:
    """Wait until the DELs of the connectivity tests' pods are done: their objects go before."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            journal = (await run(lab, "show", "--json", node=node)).value["journal"]
            if {one["pod"]["namespace"] for one in journal["attachments"]} == {"default"}:
                return


async def test_a_healthy_node_with_exclusive_enis_has_no_finding(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    await only_own_pods(lab, "eni-1")
    found = (await run(lab, "doctor", "--json", node="eni-1")).value["findings"]
    mapped = await run(lab, "mapping", "--json", node="eni-1")
    shown = (await run(lab, "show", node="eni-1")).output

    assert [one["what"] for one in found if one["severity"] != "note"] == []
    assert mapped.code == 0
    assert "exclusive: each pod has an ENI" in shown
    assert "in pod: eth0" in shown


async def test_a_second_leg_is_walked_to_the_node_itself(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    hops = await why(lab, "own", "eni-1", "--family", "4", node="eni-1")

    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    *_, arrival, _policies = hops
    assert arrival["text"].endswith("is this node itself")


async def test_a_table_of_nftables_that_was_deleted_is_named(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    async with broken(lab, "nft delete table inet terway_masq", "true", name="eni-1"):
        found = (await run(lab, "doctor", "--json", node="eni-1")).value["findings"]

    whats = [one["what"] for one in found if one["severity"] == "error"]
    assert "table inet terway_masq of nftables is missing" in whats


async def test_an_eni_that_somebody_unplugged_is_one_finding_and_named_by_why(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    eni = eni_of(lab, pods["near"])
    client = inprocess_ecs_client(lab.cloud)
    node, instance = lab.node("node-1"), lab.instances["node-1"].id
    async with nobody_mends(lab):
        await client.detach_eni(eni.id, instance)
        async with asyncio.timeout(PATIENCE_S):
            while eni.mac in await node.exec("ip", "link"):
                await node.exec("true")
        found = (await run(lab, "doctor", "--json")).value["findings"]
        shown = (await run(lab, "show")).output
        hops = await why(lab, "near", "far", "--family", "4")

    errors = [one for one in found if one["severity"] == "error"]
    about = [one for one in errors if str(eni.id) in one["what"]]
    assert [one["what"] for one in about] == [f"ENI {eni.id} has no link on this node"]
    assert {one["what"] for one in errors} - {about[0]["what"]} <= {"terwayd is down"}
    assert "AttachNetworkInterface" in about[0]["command"]
    assert "detached" in shown
    assert (hops[-1]["state"], hops[-1]["what"]) == ("FAIL", f"link of {eni.id}")


async def offline(*words: str) -> Answer:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "terway.cli", *words), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return Answer(code=process.returncode or 0, output=output.decode())
