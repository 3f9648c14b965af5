"""What a node has in force: before an ADD answers, after a restart, while all changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from terway.kube.resource import PODS
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.resources import NAMESPACE, NETWORK_POLICY, NODE, POD
from terway.model.attachment import PodRef
from terway.model.errors import ConflictError, TransientError
from terway.model.interface import InterfaceSpec, Mode
from terway.policy.cluster import PodKey
from terway.policy.compiled import Compiled
from tests.support.attachments import attachment
from tests.support.cluster import pod_manifest
from tests.support.paper_filter import (
    WITHIN_S,
    PaperFilter,
    PaperNode,
    open_paper_node,
    open_policy_api,
)
from tests.support.policy_objects import NOBODY, network_policy

WEB = attachment(1, pod="web")
CLOSED = network_policy("closed", selects={"app": "web"}, ingress=NOBODY, has_fence=False)


@pytest.fixture
async def api(tmp_path):
    async with open_policy_api(tmp_path) as api:
        yield api


@pytest.fixture
async def node(api) -> AsyncIterator[PaperNode]:
    async with open_paper_node(api[1]) as node:
        yield node


def version_of(stored):
    return stored.object["metadata"]["resourceVersion"]


def read_pod(stored):
    return PODS.decoder.decode(msgspec.json.encode(stored.object))


def pod_here(name):
    manifest = pod_manifest(name)
    manifest["spec"]["nodeName"] = "n1"
    return manifest


def with_uid(one, stored):
    uid = stored.object["metadata"]["uid"]
    return replace(one, pod=PodRef(namespace="default", name=one.pod.name, uid=uid))


async def add(node: PaperNode, one=WEB):
    """Do what ADD does; return whether it waited."""
    if node.gate.is_free((one,), None):
        return False
    await node.gate.admit((one,), None)
    return True


async def test_an_ADD_answers_when_what_policies_say_of_its_pod_is_in_force(api, node):
    """Bug class 45: a start-up window that is open."""
    state, _ = api
    state.create(POD, pod_manifest("web", app="web"))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    node.filter.may_go_on.clear()
    node.filter.is_asked.clear()

    async with asyncio.TaskGroup() as tasks:
        adding = tasks.create_task(add(node))
        assert await asyncio.to_thread(node.filter.is_asked.wait, WITHIN_S)
        assert not adding.done()
        assert node.filter.sides("web") is None
        node.filter.may_go_on.set()

    assert adding.result()
    assert node.filter.sides("web") is not None


async def test_a_pod_that_no_policy_selects_waits_for_no_transaction(api, node):
    state, _ = api
    await node.hears("pods", version_of(state.create(POD, pod_manifest("web", app="web"))))
    node.filter.may_go_on.clear()

    waited = await add(node)

    assert not waited


async def test_a_pod_with_an_eni_waits_although_no_policy_selects_it(api, node):
    """What tracks its connections is inside the pod, and must be there before its first packet."""
    state, _ = api
    await node.hears("pods", version_of(state.create(POD, pod_manifest("web", app="web"))))
    before = len(node.filter.done)

    assert await add(node, replace(WEB, spec=InterfaceSpec(mode=Mode.EXCLUSIVE)))

    assert "apply" in node.filter.done[before:]


async def test_without_the_API_server_an_ADD_is_refused_with_the_reason(api, tmp_path):
    """Bug class 45: nothing is known of policies, so nobody may be let in."""
    _, server = api
    server.fail(Fault(effect=Effect.REFUSE, resources=("networkpolicies",), times=1000))
    async with open_paper_node(server, patience_s=0.2) as node:
        async with asyncio.timeout(WITHIN_S):
            while not any("503" in one for one in node.view.troubles):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)
        with pytest.raises(TransientError, match=r"networkpolicies: .*503") as caught:
            await add(node)

        assert caught.value.code == "PolicyNotInForce"
        node.gate.leave(WEB)
        assert node.view.attached == {}
        assert node.seats.snapshot() == {}
        assert node.filter.done == []


async def test_an_ADD_goes_on_while_the_API_server_is_away_once_all_has_been_heard(api, node):
    state, server = api
    state.create(POD, pod_manifest("web", app="web"))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    server.fail(Fault(effect=Effect.REFUSE, times=1000))

    await add(node)

    assert node.filter.sides("web") is not None


async def test_what_was_in_force_stays_until_all_is_heard_and_the_journal_is_told(api):
    """Bug class 46: a restart that opens or shuts what was not."""
    state, server = api
    state.create(POD, pod_manifest("web", app="web"))
    state.create(NETWORK_POLICY, CLOSED)
    before = Compiled()
    filter_ = PaperFilter()
    filter_.compiled = before
    async with open_paper_node(server, filter_=filter_, restored=False) as node:
        async with asyncio.timeout(WITHIN_S):
            await node.view.synced()
        assert filter_.compiled is before

        node.gate.restore((WEB,))
        await node.settle()

        assert filter_.done == ["adopt"]
        assert filter_.sides("web") is not None


async def test_a_namespace_that_changes_its_labels_changes_who_is_a_peer_at_once(api, node):
    """Bug class 53: labels of namespaces are followed late."""
    state, _ = api
    rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]}
    state.create(NETWORK_POLICY, network_policy("red", selects={"app": "web"}, ingress=[rule]))
    state.create(POD, pod_manifest("web", app="web"))
    peer = pod_manifest("peer")
    state.create(POD, peer)
    state.patch(POD, "peer", "default", {"status": {"podIP": "10.0.0.7"}}, subresource="status")
    await add(node)
    hosts = {str(one) for one in node.filter.compiled.hosts}
    assert "10.0.0.7" not in hosts

    patched = state.patch(NAMESPACE, "default", "", {"metadata": {"labels": {"team": "red"}}})
    await node.hears("namespaces", version_of(patched))

    assert "10.0.0.7" in {str(one) for one in node.filter.compiled.hosts}


async def test_nobody_waits_for_the_removal_of_what_is_in_use_no_more(api, node):
    state, _ = api
    state.create(POD, pod_manifest("web", app="web"))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    await add(node)
    node.filter.may_leave.clear()

    state.delete(NETWORK_POLICY, "closed", "default")
    while node.filter.sides("web") is not None:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.001)
    other = attachment(2, pod="other")
    again = state.create(NETWORK_POLICY, CLOSED)
    await node.hears("networkpolicies", version_of(again))
    async with asyncio.timeout(WITHIN_S):
        await add(node, other)

    assert node.filter.left_behind == 1
    assert not node.engine.is_tidy
    node.filter.may_leave.set()
    while not node.engine.is_tidy:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.001)
    assert node.filter.left_behind == 0


async def test_a_transaction_that_fails_is_followed_by_making_all_anew(api, node):
    """Bug class 54: a write error that is swallowed."""
    state, _ = api
    state.create(POD, pod_manifest("web", app="web"))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    node.filter.failing.append(ConflictError("no such set", code="ENOENT"))

    async with asyncio.timeout(WITHIN_S):
        assert await add(node)

    assert node.filter.done[-1] == "adopt"
    assert node.filter.sides("web") is not None
    assert node.engine.state.trouble == ""


async def test_of_two_sandboxes_of_a_pod_the_later_ones_address_counts_and_stays(api, node):
    """Bug class 3: the DEL of the one before it comes later."""
    later = attachment(2, pod="web")
    await add(node, WEB)
    await add(node, later)

    node.gate.leave(WEB)

    assert [*node.view.attached.values()] == [later.lease.addresses]
    node.gate.leave(later)
    assert node.view.attached == {}


async def test_a_pod_that_an_ADD_has_read_is_not_undone_by_the_end_of_the_one_before_it(api):
    """Bug class 45: a StatefulSet's pod comes again under its name."""
    state, server = api
    old = version_of(state.create(POD, pod_manifest("web")))
    async with open_paper_node(server) as node:
        await node.hears("pods", old)
        state.clock.move(60)
        state.patch(POD, "web", "default", {"metadata": {"labels": {"app": "changed"}}})
        state.delete(POD, "web", "default")
        fresh = state.create(POD, pod_manifest("web", app="web"))
        node.gate.is_free((WEB,), read_pod(fresh))
        seen = [next(iter(node.view.pods.values.values())).labels]
        while int(node.view.heard["pods"]) < int(version_of(fresh)):
            await asyncio.sleep(0)
            seen += [one.labels for one in node.view.pods.values.values()]

        assert all(one == {"app": "web"} for one in seen)


async def test_a_pod_that_was_deleted_by_force_is_judged_until_its_network_is_gone(api, node):
    """Bug class 45: it runs on for a while, and nothing opens for it meanwhile."""
    state, _ = api
    state.create(POD, pod_manifest("web", app="web"))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    await add(node)
    state.delete(POD, "web", "default")
    while node.view.pods.values:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    await node.settle()
    assert node.filter.sides("web") is not None

    node.gate.leave(WEB)
    await node.settle()

    assert node.filter.sides("web") is None


async def test_what_runs_on_of_a_pod_that_the_API_has_no_more_is_shut_from_the_start(api):
    """Deleted by force while there was no terwayd: only the journal knows it. Bug class 45."""
    state, server = api
    state.create(NODE, {"metadata": {"name": "n1"}})
    async with open_paper_node(server, restored=False) as node:
        node.gate.restore((WEB,))
        await node.settle()
        await node.status.write()

        sides = node.filter.sides("web")
        assert sides is not None
        assert None not in (sides.ingress, sides.egress)
        assert [reason for reason, _text in node.told] == ["NetworkPolicyPodUnknown"]

        node.gate.leave(WEB)
        await node.settle()
        assert node.filter.sides("web") is None


async def test_what_runs_on_of_a_pod_is_shut_when_its_name_is_another_pods(api, node):
    """A pod of a StatefulSet, deleted by force, and made again: elsewhere, or here."""
    state, _ = api
    old = state.create(POD, pod_here("web"))
    held = with_uid(WEB, old)
    await node.hears("pods", version_of(old))
    await add(node, held)
    await node.settle()
    assert node.filter.sides("web") is None

    state.delete(POD, "web", "default", DeleteOptions(grace_s=0))
    again = state.create(POD, pod_here("web"))
    await node.hears("pods", version_of(again))
    await add(node, with_uid(attachment(2, pod="web"), again))
    await node.settle()
    (shut,) = node.filter.compiled.sides
    assert shut.name == f"web~{old.object['metadata']['uid']}"
    assert {key.name: len(seats) for key, seats in node.seats.snapshot().items()} == {
        "web": 1,
        shut.name: 1,
    }

    node.gate.leave(held)
    await node.settle()
    assert not node.filter.compiled.sides


async def test_an_ADD_whose_pod_the_watch_has_not_told_of_knows_its_labels(api, node):
    state, server = api
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    server.fail(Fault(effect=Effect.DELAY, resources=("pods",), delay_s=60.0))
    stored = state.create(POD, pod_manifest("web", app="web"))
    read = read_pod(stored)

    if not node.gate.is_free((WEB,), read):
        await node.gate.admit((WEB,), read)

    assert node.filter.sides("web") is not None


async def test_a_container_that_kubernetes_does_not_know_waits_for_nothing(node):
    stranger = replace(attachment(9), pod=None)

    assert node.gate.is_free((stranger,), None)
    node.gate.leave(stranger)


async def test_an_ADD_fails_where_its_own_pod_refuses_and_no_other_does(api, node):
    state, _ = api
    state.create(POD, pod_manifest("web", app="web"))
    state.create(POD, pod_manifest("pod-2", app="web"))
    await node.hears("networkpolicies", version_of(state.create(NETWORK_POLICY, CLOSED)))
    node.filter.refused[PodKey(namespace="default", name="web")] = "no room"

    with pytest.raises(TransientError, match="no room"):
        await add(node)
    assert await add(node, attachment(2))
