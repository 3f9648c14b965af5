"""A cluster changes hands and goes back, by the DaemonSets of both: running pods notice nothing."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from terway.cli.migrate_cluster import Job
from terway.cli.migrate_seen import PODS
from terway.cli.migrate_task import task_words
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from terway.store.upstream import parse_record, read_relations
from tests.support.flows_of_pods import Traffic, traffic
from tests.support.upstream_cluster import add_upstream, look_pod, our_manifests
from tests.support.upstream_resources import read_all

pytestmark = pytest.mark.lab

NODES = ("node-1", "node-2")
PAUSE_S = 0.01
# What upstream or ours may have on a node, in files and in the kernel. Less what the kernel finds
# out by itself some time later: which link has a carrier.
LOOK = """
    ip -o link | sed 's/<.*> //; s/ qdisc .*//'; ip -o address | grep -v fe80; ip rule; ip -6 rule
    ip -4 route show table all | sed 's/ linkdown//'
    ip -6 route show table all | grep -v -e fe80 -e ff00 | sed 's/ expires.*//; s/ linkdown//'
    nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'
    for link in $(ls /sys/class/net); do tc filter show dev $link ingress; done
    find /var/lib/cni /etc/cni /opt/cni /sys/fs/bpf /var/run/eni -type f -o -type s | sort
    cat /var/lib/cni/terway/ResRelation.db /etc/cni/net.d/* | sha256sum
"""


# What felix leaves, with the ends of its chains: pods that it knows, and all others.
FELIX = """
    for link in $(ls /sys/class/net | grep ^cali); do known="$known $link"; done
    iptables-nft -N cali-FORWARD; iptables-nft -N cali-from-wl-dispatch
    for link in $known; do
        iptables-nft -A cali-from-wl-dispatch -i $link -j ACCEPT
    done
    iptables-nft -A cali-from-wl-dispatch -j DROP
    iptables-nft -A cali-FORWARD -i cali+ -j cali-from-wl-dispatch
    iptables-nft -A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
"""
LISTS = (
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/deployments",
    "/api/v1/configmaps",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
)


def documented() -> list[list[str]]:
    """Return the words of each `terway-cli migrate` of docs/migrate.md, in their order."""
    text = (Path(__file__).parents[2] / "docs" / "migrate.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.split()[1:] for line in lines if line.startswith("terway-cli migrate")]


async def migrate(lab: Lab, words: Sequence[str], ours: Path) -> str:
    """Run terway-cli as a person with the cluster's kubeconfig does; who is asked says yes."""
    meant = {"ours.yaml": str(ours), "NODE": "node-1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "terway.cli", *(meant.get(word, word) for word in words)),
        f"--kubeconfig={lab.services.kubeconfig_path}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(b"y\n")
    assert process.returncode == 0, output.decode()
    return output.decode()


async def look(lab: Lab, words: Sequence[str]) -> str:
    """Run terway-cli on node-1, in a pod of our image that has the host's files at /host."""
    made = look_pod("node-1", "terway-cli", *words)
    await lab.kube.create(PODS, made, namespace="kube-system")
    path = PODS.path(namespace="kube-system", name="look")
    async with asyncio.timeout(PATIENCE_S):
        while json.loads(await lab.kube.request("GET", path))["status"].get("phase") not in (
            "Succeeded",
            "Failed",
        ):
            await lab.node("node-1").exec("true")
    said = (await lab.kube.request("GET", f"{path}/log")).decode()
    await lab.delete_pod("look", namespace="kube-system")
    return " ".join(said.split())


async def state(lab: Lab) -> list[str]:
    """Return all of the cluster that a migration may change, line by line."""
    found = [await lab.node(name).exec("sh", "-c", LOOK) for name in NODES]
    lists = [await lab.kube.request("GET", path) for path in LISTS]
    objects = [as_written(one) for body in lists for one in json.loads(body)["items"]]
    return [
        *(line for text in found for line in text.splitlines()),
        *(json.dumps(one, sort_keys=True) for one in objects),
    ]


def as_written(one: dict[str, Any]) -> dict[str, Any]:
    """Return an object less what controllers report of it whenever a pod is ready."""
    reported = ("resourceVersion", "managedFields")
    meta = {key: value for key, value in one["metadata"].items() if key not in reported}
    return {**one, "metadata": meta, "status": None}


async def goes_on(flows: list[Traffic]) -> None:
    for flow in flows:
        await flow.goes_on()


async def begin(stack: AsyncExitStack, *pairs: tuple[PodHandle, PodHandle]) -> list[Traffic]:
    flows = []
    for source, target in pairs:
        for family in (Family.V4, Family.V6):
            address = target.address(family)
            between = traffic(source.netns_path, target.netns_path, address, pause_s=PAUSE_S)
            flows.append(await stack.enter_async_context(between))
    return flows


def known(lab: Lab, node: str) -> dict[str, set[str]]:
    """Return the pods of upstream's journal with their addresses."""
    path = lab.node(node).inside("/var/lib/cni/terway/ResRelation.db")
    pods = {key: parse_record(key, value) for key, value in read_relations(path).items()}
    return {
        key: {str(ip) for one in pod.interfaces for ip in one.addresses}
        for key, pod in pods.items()
    }


async def felix_is_gone(lab: Lab) -> None:
    """Wait until our policies are in force, and what felix left is gone: new pods need it."""
    async with asyncio.timeout(PATIENCE_S):
        while "cali-" in await lab.node("node-1").exec("nft", "list", "ruleset"):
            await lab.node("node-1").exec("true")  # it is not told to anybody here


async def new_pod_talks(lab: Lab, name: str, *others: PodHandle) -> None:
    fresh = await lab.pod(name, node="node-1")
    for other in others:
        assert await fresh.can_reach(other)
        assert await other.can_reach(fresh)
    await lab.delete_pod(name)


def test_the_commands_by_hand_are_those_of_the_pods_on_the_way_back():
    assert documented()[-2:] == [list(task_words(one)) for one in (Job.CHECK, Job.RETURN)]


async def test_pods_keep_addresses_connections_and_packets_there_and_back(tmp_path: Path):
    """bug class 20: an upgrade finds what another version has made, and goes back."""
    dry, as_json, on_node, first, rest, finish, one_back, all_back, *_ = documented()
    name, ours = f"t{uuid.uuid4().hex[:8]}", tmp_path / "ours.yaml"
    async with open_lab(name=name, nodes=0, agent=False, progress=print) as lab:
        await add_upstream(lab, *NODES)
        ours.write_text(our_manifests(lab))
        near, far, third = [
            await lab.pod(pod, node=node)
            for pod, node in (("near", "node-1"), ("far", "node-2"), ("third", "node-1"))
        ]
        await lab.pod("old", node="node-1")
        assert set(known(lab, "node-1")) == {"default/near", "default/third", "default/old"}
        async with AsyncExitStack() as stack:
            flows = await begin(stack, (near, far), (third, near))
            await lab.node("node-1").exec("sh", "-ec", FELIX)

            before = await state(lab)
            resources = await read_all(lab.kube)
            said = " ".join((await migrate(lab, dry, ours)).split())
            assert "PodENI default/db-0 keeps 192.168.32.9" in said
            assert "not carried over" not in said
            json.loads(await migrate(lab, as_json, ours))
            shown = await look(lab, on_node)
            assert "3 pods taken over" in shown, shown
            assert "felix: 2 chains of table ip filter" in shown
            assert set(await state(lab)) ^ set(before) == set()

            assert "node-2: labelled" not in await migrate(lab, first, ours)
            await goes_on(flows)
            await felix_is_gone(lab)
            await new_pod_talks(lab, "of-ours", near, far)
            assert "node-1: labelled" not in await migrate(lab, rest, ours)
            await goes_on(flows)
            assert "3 pods in our journal" in await look(lab, on_node)
            await migrate(lab, finish, ours)
            assert (await lab.wait_pod("near")).addresses == near.addresses
            await lab.delete_pod("old")
            stays = await lab.pod("stays", node="node-1")

            await migrate(lab, one_back, ours)
            await goes_on(flows)
            assert set(known(lab, "node-1")) == {"default/near", "default/third", "default/stays"}
            assert known(lab, "node-1")["default/stays"] == set(map(str, stays.addresses))
            await new_pod_talks(lab, "of-upstream", near, far, stays)
            await lab.delete_pod("stays")
            assert "default/stays" not in known(lab, "node-1")
            await migrate(lab, all_back, ours)
            await goes_on(flows)
            assert set(known(lab, "node-2")) == {"default/far"}
            assert await read_all(lab.kube) == resources
