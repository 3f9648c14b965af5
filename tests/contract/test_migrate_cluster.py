"""A cluster of upstream's is ours at the end, and upstream's again: whenever one is interrupted."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
import yaml

from terway.cli.migrate_action import Do, Goal
from terway.cli.migrate_cluster import Agent, Taken
from terway.cli.migrate_do import Performer
from terway.cli.migrate_next import next_forward
from terway.cli.migrate_return import next_back
from terway.cli.migrate_run import Pace, go_through
from terway.cli.migrate_seen import HOOKS, NODES, read_cluster
from terway.cli.migrate_whole import rendered
from terway.kube.client import KubeClient
from terway.lab.kubeapi.manifests import apply_manifests
from terway.model.errors import TransientError, UsageError
from tests.support.live_cluster import open_live_cluster
from tests.support.migrating_cluster import SETTINGS, Cluster, KilledError, open_migration
from tests.support.paper_kubelet import add_node
from tests.support.upstream_objects import daemon_set, eni_config


@pytest.fixture
async def cluster(tmp_path):
    async with open_live_cluster(tmp_path) as server, open_migration(server) as one:
        yield one


async def test_a_cluster_changes_hands_node_by_node_and_its_configuration_stays(cluster):
    before = await cluster.objects()

    done = await cluster.go(next_forward)

    after = await cluster.objects()
    assert await cluster.labels() == {"node-1": Taken.YES, "node-2": Taken.YES}
    assert after["ConfigMap/eni-config"] == before["ConfigMap/eni-config"]
    seen = await read_cluster(cluster.client)
    assert {one.kind for one in seen.hooks} == set(HOOKS)
    assert all(one.is_ours for one in seen.hooks)
    assert [one.node for one in done if one.do is Do.LABEL] == ["node-1", "node-2"]
    assert all(one.ours.value == "ready" and one.theirs.value == "none" for one in seen.members)
    assert await cluster.go(next_forward) == ()


async def test_upstreams_agents_keep_their_rights_as_long_as_they_run(cluster):
    await cluster.go(next_forward)

    rules = (await cluster.objects())["ClusterRole/terway"]
    groups = [group for rule in rules for group in rule["apiGroups"]]
    assert "crd.projectcalico.org" in groups
    assert "network.alibabacloud.com" in groups


@pytest.mark.parametrize("is_finished", [False, True])
async def test_the_way_back_ends_where_the_way_there_began(cluster, is_finished):
    before = await cluster.objects()
    goal = Goal(applied=cluster.goal.applied, is_finishing=is_finished)
    await cluster.go(next_forward, goal)
    assert ("DaemonSet/terway-eniip" in await cluster.objects()) is not is_finished

    await cluster.go(next_back, Goal())

    assert await cluster.labels() == {"node-1": Taken.NO, "node-2": Taken.NO}
    after = await cluster.objects()
    assert {name: after[name] for name in before} == before
    assert "DaemonSet/terway" not in after
    seen = await read_cluster(cluster.client)
    assert all(one.theirs.value == "ready" for one in seen.members)
    assert await cluster.go(next_back, Goal()) == ()


async def test_a_node_that_comes_after_the_end_is_ours_and_goes_back_with_the_others(cluster):
    await cluster.go(next_forward, Goal(applied=cluster.goal.applied, is_finishing=True))
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    add_node(cluster.state, "node-3")
    await cluster.client.patch(NODES, "node-3", {"metadata": {"labels": labels}})

    async def of_node_3() -> tuple[Agent, Agent]:
        members = (await read_cluster(cluster.client)).members
        return next((one.ours, one.theirs) for one in members if one.name == "node-3")

    async with asyncio.timeout(60):
        while await of_node_3() != (Agent.READY, Agent.NONE):
            pass

    await cluster.go(next_back, Goal())

    assert set((await cluster.labels()).values()) == {Taken.NO}
    assert await of_node_3() == (Agent.NONE, Agent.READY)
    returned = [one for one in cluster.told if "journal is written" in one]
    assert [one.partition(":")[0] for one in returned] == [
        "node node-1",
        "node node-2",
        "node node-3",
    ]


async def test_whoever_is_killed_after_each_step_ends_where_the_others_do(cluster):
    """bug class 20: an upgrade is cut off between two of its steps."""
    cluster.kills = True
    for next_of, goal in ((next_forward, cluster.goal), (next_back, Goal())):
        kills = 0
        while True:
            try:
                assert await cluster.go(next_of, goal) == ()
                break
            except KilledError:
                kills += 1
        assert kills >= 8
    before = (eni_config()["data"], daemon_set()["spec"]["template"]["spec"]["affinity"])
    after = await cluster.objects()
    held = after["DaemonSet/terway-eniip"]["template"]["spec"]["affinity"]
    assert (after["ConfigMap/eni-config"], held) == before


async def test_one_node_is_taken_and_given_back_alone(cluster):
    await cluster.go(next_forward, Goal(applied=cluster.goal.applied, nodes=("node-2",)))
    assert await cluster.labels() == {"node-1": Taken.NO, "node-2": Taken.YES}

    await cluster.go(next_forward)
    await cluster.go(next_back, Goal(nodes=("node-2",)))

    assert await cluster.labels() == {"node-1": Taken.YES, "node-2": Taken.NO}
    assert "DaemonSet/terway" in await cluster.objects()


async def test_a_node_whose_pods_cannot_go_back_is_refused_before_anything_is_changed(cluster):
    await cluster.go(next_forward)
    before = await cluster.objects()
    cluster.fails = True

    with pytest.raises(UsageError, match="default/fast: it is an IPvlan child"):
        await cluster.go(next_back, Goal())

    assert await cluster.labels() == {"node-1": Taken.YES, "node-2": Taken.YES}
    assert await cluster.objects() == before
    cluster.fails = False
    await cluster.go(next_back, Goal())
    assert set((await cluster.labels()).values()) == {Taken.NO}


async def next_text(cluster: Cluster) -> str:
    """Do the next step, and say which."""
    action = await cluster.step(next_forward, Goal(applied="x"))
    return "" if action is None else action.text


async def test_what_does_not_come_is_told_with_what_to_look_at(cluster):
    manifests = json.loads(json.dumps(list(cluster.performer.manifests)))
    for one in manifests:
        if one["kind"] == "DaemonSet":
            one["spec"]["template"]["spec"]["containers"][0]["image"] = "broken"
    cluster.performer = Performer(client=cluster.client, manifests=tuple(manifests), applied="x")
    async with asyncio.timeout(60):
        while "ours is not ready" not in await next_text(cluster):  # what is awaited before comes
            pass

    async def read() -> Any:
        return await read_cluster(cluster.client)

    pace = Pace(look_every_s=0.01, patience_s=0.3)
    with pytest.raises(TransientError, match="migrate --back --node node-1"):
        await go_through(
            read, cluster, next_forward, Goal(applied="x"), told=lambda one: None, pace=pace
        )

    assert await cluster.labels() == {"node-1": Taken.YES, "node-2": Taken.NO}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--dry-run", "--yes"), "one of them"),
        (("--json",), "cannot ask"),
        (("--all",), "for --back"),
        (("--finish", "--node", "a"), "without --node"),
        (("--yes", "--set", "regionID=r"), "no upstream Terway is in this cluster"),
        (("--back", "--all", "--yes"), "which has upstream's objects"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_changed(tmp_path, words, why):
    async with open_live_cluster(tmp_path) as server:
        ours = [one for one in rendered((), SETTINGS) if one["kind"] == "DaemonSet"]
        if "--back" in words:
            apply_manifests(server.state, yaml.safe_dump_all(ours))
        elif "--set" in words:
            apply_manifests(server.state, yaml.safe_dump(eni_config()))
            words = ("--yes", *(part for one in SETTINGS for part in ("--set", one)))
        config = f"--kubeconfig={server.kubeconfig}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "terway.cli", "migrate", *words, config),
            f"--root={tmp_path}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()

        assert process.returncode != 0
        assert why in " ".join(output.decode().split())
        async with KubeClient(server.unix) as client:
            seen = await read_cluster(client)
        assert not seen.is_saved
        assert {one.taken for one in seen.members} == {Taken.NO}
        assert len(seen.workloads) == ("--back" in words)
