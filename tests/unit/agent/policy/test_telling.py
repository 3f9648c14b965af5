"""What is told of the policies in force: status object, events, proof, damage by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from terway.agent.policy.pages import summary_page
from terway.datapath.fights import PATIENCE
from terway.kube.client import KubeClient
from terway.kube.policy_status import POLICY_NODE_STATUSES
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.resources import (
    CLUSTER_NETWORK_POLICY,
    NETWORK_POLICY,
    NODE,
    POD,
)
from terway.model.errors import ConflictError
from terway.policy.cluster import PodKey
from tests.support.attachments import attachment
from tests.support.cluster import pod_manifest
from tests.support.paper_filter import PaperNode, open_paper_node, open_policy_api
from tests.support.policy_objects import NOBODY, network_policy

WEB = attachment(1, pod="web")
CLOSED = network_policy("closed", selects={"app": "web"}, ingress=NOBODY, has_fence=False)


@pytest.fixture
async def api(tmp_path):
    async with open_policy_api(tmp_path) as api:
        api[0].create(NODE, {"metadata": {"name": "n1"}})
        api[0].create(POD, pod_manifest("web", app="web"))
        yield api


@pytest.fixture
async def node(api) -> AsyncIterator[PaperNode]:
    async with open_paper_node(api[1]) as node:
        assert node.gate.is_free((WEB,), None) in (True, False)
        await node.settle()
        yield node


def version_of(stored):
    return stored.object["metadata"]["resourceVersion"]


def cluster_policy(name, *, priority=5, to=None):
    everybody: dict[str, object] = {"namespaces": {}}
    rule = {"action": "Accept", "to": [to or everybody]}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "Admin", "priority": priority, "subject": everybody, "egress": [rule]},
    }


async def told_by(server):
    async with KubeClient(server.unix) as client:
        return await client.get(POLICY_NODE_STATUSES, "n1")


async def test_each_policy_that_selects_pods_here_is_told_with_its_generation(api, node):
    state, server = api
    state.create(NETWORK_POLICY, network_policy("other", selects={"app": "db"}, ingress=NOBODY))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))

    await node.status.write()

    (line,) = (await told_by(server)).status.policies
    assert (line.namespace, line.name, line.pods, line.in_force) == ("default", "closed", 1, True)
    assert line.generation == 1


async def test_a_status_that_says_the_same_is_not_written_again(api, node):
    _, server = api
    await node.status.write()
    before = await told_by(server)
    server.fail(Fault(effect=Effect.REFUSE, verbs=("patch", "create", "update"), times=9))

    await node.status.write()

    assert await told_by(server) == before
    assert before is not None


async def test_a_status_says_it_when_what_it_told_is_no_more(api, node):
    state, server = api
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    await node.status.write()
    state.delete(NETWORK_POLICY, "closed", "default")
    while node.view.all_policies():
        await node.settle()

    await node.status.write()

    assert (await told_by(server)).status.policies == ()


async def test_what_is_wrong_with_a_policy_is_told_once_by_an_event_about_it(api, node):
    state, server = api
    state.create(CLUSTER_NETWORK_POLICY, cluster_policy("one"))
    state.create(CLUSTER_NETWORK_POLICY, cluster_policy("two"))
    names = cluster_policy("names", priority=7, to={"domainNames": ["example.com"]})
    await node.hears(
        "clusternetworkpolicies", version_of(state.create(CLUSTER_NETWORK_POLICY, names))
    )

    await node.status.write()
    await node.status.write()

    assert sorted(reason for reason, _ in node.told) == [
        "PolicyNotEnforceable",
        "PolicyPriorityEqual",
        "PolicyPriorityEqual",
    ]
    lines = {line.name: line for line in (await told_by(server)).status.policies}
    assert "domainNames" in lines["names"].message


@pytest.mark.parametrize(
    ("context", "reasons"),
    [
        ({"privileged": True}, ["NetworkPolicyRemovable"]),
        ({"capabilities": {"add": ["NET_ADMIN"]}}, ["NetworkPolicyRemovable"]),
        ({"capabilities": {"add": ["CAP_NET_ADMIN"]}}, ["NetworkPolicyRemovable"]),
        ({"capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]}}, []),
        ({}, []),
    ],
)
async def test_a_pod_that_could_remove_its_own_table_is_told_of_once(api, node, context, reasons):
    state, _ = api
    manifest = pod_manifest("eni")
    manifest["spec"]["nodeName"] = "n1"
    manifest["spec"]["containers"][0]["securityContext"] = context
    await node.hears("pods", version_of(state.create(POD, manifest)))
    node.inside = (PodKey(namespace="default", name="eni"),)

    await node.status.write()
    await node.status.write()

    assert [reason for reason, _ in node.told] == reasons


async def test_the_node_has_a_condition_that_says_whether_policy_is_in_force(api, node):
    state, _ = api

    await node.status.write()

    conditions = state.get(NODE, "n1").object["status"]["conditions"]
    (ours,) = (one for one in conditions if one["type"] == "NetworkPolicyInForce")
    assert ours["status"] == "True"


async def test_what_the_kernel_has_is_compared_and_counted(api, node):
    state, _ = api
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))

    assert await node.proof.prove() == ()

    lines = [line for metric in node.proof.metrics() for line in metric.lines()]
    assert 'terway_policy_verify_total{outcome="same"} 1.0' in lines
    assert 'terway_policy_compiled_count{kind="restricted_pods"} 1.0' in lines
    assert node.told == []


async def test_what_somebody_has_removed_is_told_and_made_anew(api, node):
    """Bug class 27: others flush the rules."""
    state, _ = api
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    node.filter.flush()
    assert node.filter.sides("web") is None

    assert await node.proof.prove() == ("not as wished",)
    await node.settle()

    assert node.filter.sides("web") is not None
    assert [reason for reason, _ in node.told] == ["NetworkPolicyDiffers"]


async def test_a_fight_over_the_table_is_mended_each_time_and_told_now_and_then(api, node):
    state, _ = api
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))

    for _ in range(PATIENCE + 3):
        node.filter.flush()
        await node.proof.prove()
        await node.settle()

    assert node.filter.done.count("renew") == PATIENCE + 3
    assert [reason for reason, _ in node.told].count("NetworkPolicyDiffers") == PATIENCE
    assert [reason for reason, _ in node.told].count("NetworkPolicyFoughtOver") == 1


async def test_a_filter_that_refuses_says_why_in_status_and_page(api, node):
    state, server = api
    failing = [ConflictError("no memory", code="ENOMEM")] * 1000
    node.filter.failing.extend(failing)
    state.create(NETWORK_POLICY, CLOSED)
    while not node.engine.state.trouble:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)

    await node.status.write()

    assert "no memory" in (await told_by(server)).status.message
    page = summary_page(node.view, node.engine, node.proof, age_s=0.0)
    assert b"no memory" in page.body
    node.filter.failing.clear()


async def test_a_pod_that_refuses_has_its_policies_told_as_not_in_force(api, node):
    state, server = api
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    node.filter.refused[PodKey(namespace="default", name="web")] = "no room"

    await node.status.write()
    await node.status.write()

    (line,) = (await told_by(server)).status.policies
    assert not line.in_force
    assert line.message == "not in force inside default/web: no room"
    assert [reason for reason, _ in node.told] == ["NetworkPolicyRefusedInside"]
    conditions = state.get(NODE, "n1").object["status"]["conditions"]
    (condition,) = (one for one in conditions if one["type"] == "NetworkPolicyInForce")
    assert (condition["status"], condition["reason"]) == ("False", "RefusedInside")


async def test_a_pod_that_holds_its_own_table_is_told_and_judged_all_the_same(node):
    node.filter.notices[PodKey(namespace="default", name="web")] = "EPERM"

    await node.status.write()

    assert [reason for reason, _ in node.told] == ["NetworkPolicyTableHeld"]
