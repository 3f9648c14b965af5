"""What does a node do about an API server that has become silent?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest

from terway.agent.policy import view
from terway.agent.policy.status import CONDITION, STALE_AFTER_S
from terway.kube.resource import PODS
from terway.lab.kubeapi.resources import NETWORK_POLICY, NODE, POD
from tests.support.attachments import attachment
from tests.support.cluster import pod_manifest
from tests.support.paper_filter import WITHIN_S, PaperNode, open_paper_node, open_policy_api
from tests.support.policy_objects import NOBODY, network_policy

CLOSED = network_policy("closed", selects={"app": "web"}, ingress=NOBODY, has_fence=False)


@pytest.fixture
async def api(tmp_path):
    async with open_policy_api(tmp_path) as (state, server):
        state.create(NODE, {"metadata": {"name": "n1"}})
        state.create(POD, pod_manifest("web", app="web"))
        yield state, server


@pytest.fixture
async def node(api) -> AsyncIterator[PaperNode]:
    async with open_paper_node(api[1]) as node:
        yield node


async def test_a_pod_that_no_watch_tells_of_has_all_watches_asked_for_anew(node, monkeypatch):
    """An ADD that knows of its pod before the watch does is the first to see that one is stuck."""
    monkeypatch.setattr(view, "DOUBT_AFTER_S", 0.0)
    asked: list[str] = []
    for one in (node.view.pods, *node.view.policies):
        monkeypatch.setattr(one, "ask_again", partial(asked.append, one.kind))
    await node.settle()
    unheard = PODS.decoder.decode(msgspec.json.encode(pod_manifest("unheard")))

    node.gate.is_free((attachment(2, pod="unheard"),), unheard)
    async with asyncio.timeout(WITHIN_S):
        while not asked:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)

    assert {"pods", "networkpolicies"} <= set(asked)


async def test_silence_of_the_API_server_is_told_and_keeps_no_pod_from_starting(api, node):
    """Pods must start while the API server is away: by what was known last."""
    state, _ = api
    closed = state.create(NETWORK_POLICY, CLOSED)
    await node.hears("networkpolicies", closed.object["metadata"]["resourceVersion"])
    node.view.policies[0].alive_at -= STALE_AFTER_S + 1

    await node.status.write()

    conditions = state.get(NODE, "n1").object["status"]["conditions"]
    (ours,) = (one for one in conditions if one["type"] == CONDITION)
    assert (ours["status"], ours["reason"]) == ("Unknown", "NotHeard")
    web = attachment(1, pod="web")
    assert not node.gate.is_free((web,), None)
    await node.gate.admit((web,), None)
