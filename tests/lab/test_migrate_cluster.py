"""A cluster changes hands and goes back, by the DaemonSets of both: running pods notice nothing."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family
from terway.store.upstream import parse_record, read_relations
from tests.support.flows_of_pods import Traffic, traffic
from tests.support.upstream_cluster import add_upstream, our_manifests

pytestmark = pytest.mark.lab

NODES = ("node-1", "node-2")
CLI = (sys.executable, "-m", "terway.cli", "migrate")
PAUSE_S = 0.01
# What upstream or ours may have on a node, in files and in the kernel.
LOOK = """
    ip -o link | sed 's/ state .*//'; ip -o address | sed 's/ tentative//'; ip rule; ip -6 rule
    ip route show table all; ip -6 route show table all | sed 's/ expires [0-9]*sec//'
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


async def migrate(lab: Lab, *words: str) -> str:
    """Run terway-cli migrate as a person with the cluster's kubeconfig does."""
    config = f"--kubeconfig={lab.services.kubeconfig_path}"
    process = await asyncio.create_subprocess_exec(
        *(*CLI, *words, config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def state(lab: Lab) -> list[str]:
    """Return all of the cluster that a migration may change, line by line."""
    found = [await lab.node(name).exec("sh", "-c", LOOK) for name in NODES]
    lists = [await lab.kube.request("GET", path) for path in LISTS]
    objects = [one for body in lists for one in json.loads(body)["items"]]
    return [
        *(line for text in found for line in text.splitlines()),
        *(json.dumps(one, sort_keys=True) for one in objects),
    ]


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
    async with asyncio.timeout(30):
        while "cali-" in await lab.node("node-1").exec("nft", "list", "ruleset"):
            await lab.node("node-1").exec("true")  # it is not told to anybody here


async def new_pod_talks(lab: Lab, name: str, *others: PodHandle) -> None:
    fresh = await lab.pod(name, node="node-1")
    for other in others:
        assert await fresh.can_reach(other)
        assert await other.can_reach(fresh)
    await lab.delete_pod(name)


async def test_pods_keep_addresses_connections_and_packets_there_and_back(tmp_path: Path):
    """bug class 20: an upgrade finds what another version has made, and goes back."""
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=0, agent=False, progress=print) as lab:
        await add_upstream(lab, *NODES)
        near, far, third, _ = [
            await lab.pod(pod, node=node)
            for pod, node in (
                ("near", "node-1"),
                ("far", "node-2"),
                ("third", "node-1"),
                ("old", "node-1"),
            )
        ]
        assert set(known(lab, "node-1")) == {"default/near", "default/third", "default/old"}
        ours = tmp_path / "ours.yaml"
        ours.write_text(our_manifests(lab))
        async with AsyncExitStack() as stack:
            flows = await begin(stack, (near, far), (third, near))

            await lab.node("node-1").exec("sh", "-ec", FELIX)
            before = await state(lab)
            shown = await lab.node("node-1").exec(*CLI, "--dry-run")
            assert "3 pods taken over" in shown
            assert "felix: 2 chains of table ip filter" in " ".join(shown.split())
            await migrate(lab, "--dry-run")
            assert sorted(await state(lab)) == sorted(before)

            told = await migrate(lab, "--manifests", str(ours), "--yes")
            assert told.index("node node-1: labelled") < told.index("node node-2: labelled")
            await goes_on(flows)
            assert (await lab.wait_pod("near")).addresses == near.addresses
            await felix_is_gone(lab)
            await new_pod_talks(lab, "of-ours", near, far)
            await lab.delete_pod("old")
            stays = await lab.pod("stays", node="node-1")

            await migrate(lab, "--back", "--all", "--yes")
            await goes_on(flows)
            assert set(known(lab, "node-1")) == {"default/near", "default/third", "default/stays"}
            assert known(lab, "node-1")["default/stays"] == set(map(str, stays.addresses))
            assert await stays.can_reach(far)
            await new_pod_talks(lab, "of-upstream", near, far, stays)
            await lab.delete_pod("stays")
            assert "default/stays" not in known(lab, "node-1")
