"""A kind is followed whatever the API server does, and one that is not installed is empty."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from terway.agent.policy.collection import (
    NOT_INSTALLED_PERIOD_S,
    REMOVED_AFTER_S,
    Collection,
)
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.resource import CLUSTER_NETWORK_POLICIES, NAMESPACES
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.resources import CLUSTER_NETWORK_POLICY, NAMESPACE
from tests.support.paper_filter import WITHIN_S, open_policy_api

DENYING = {
    "apiVersion": "policy.networking.k8s.io/v1alpha2",
    "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "denying"},
    "spec": {
        "tier": "Admin",
        "priority": 5,
        "subject": {"namespaces": {}},
        "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
    },
}


@pytest.fixture
async def api(tmp_path):
    async with open_policy_api(tmp_path) as api:
        yield api


class CountingClient(KubeClient):
    watches = 0

    def watch(self, *args, **options):
        self.watches += 1
        return super().watch(*args, **options)


class Heard:
    def __init__(self, server, resource=NAMESPACES, *, now=None, **options):
        self.changes: list[tuple[str, object]] = []
        self.slept: list[float] = []
        self.client = CountingClient(server.unix)
        self.collection = Collection(
            self.client,
            resource,
            name=lambda key: key.name,
            read=lambda one: one if isinstance(one, dict) else dict(one.metadata.labels),
            heard=lambda key, value: self.changes.append((key, value)),
            backoff=Backoff(Random(7)),
            sleep=self.sleep,
            now=now or (lambda: sum(self.slept)),
            **options,
        )

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def until(self, holds):
        async with self.client, asyncio.timeout(WITHIN_S):
            running = asyncio.create_task(self.collection.run())
            while not holds():  # noqa: ASYNC110 - what is waited for is any condition
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait((running,))


async def test_a_kind_that_is_not_installed_is_empty_and_asked_for_now_and_then(api):
    _, server = api
    kind = "clusternetworkpolicies"
    server.fail(Fault(effect=Effect.REFUSE, resources=(kind,), code=404, times=2))
    heard = Heard(server, CLUSTER_NETWORK_POLICIES, is_optional=True)

    await heard.until(lambda: len(heard.slept) == 2)

    assert heard.collection.synced.is_set()
    assert heard.collection.trouble == ""
    assert heard.slept == [NOT_INSTALLED_PERIOD_S] * 2


async def test_objects_of_a_kind_stay_until_it_was_not_found_for_a_while(api):
    """An API server that starts does not know all kinds at once: policies must not go for that."""
    state, server = api
    state.create(CLUSTER_NETWORK_POLICY, DENYING)
    kind = ("clusternetworkpolicies",)
    server.fail(Fault(effect=Effect.CUT_WATCH, verbs=("watch",), resources=kind))
    server.fail(Fault(effect=Effect.REFUSE, resources=kind, code=404, skip=2, times=1000))
    heard = Heard(server, CLUSTER_NETWORK_POLICIES, is_optional=True)
    troubles = set()

    def is_empty():
        troubles.add(heard.collection.trouble)
        return NOT_INSTALLED_PERIOD_S in heard.slept

    await heard.until(is_empty)

    assert [value is None for _, value in heard.changes] == [False, True]
    assert sum(heard.slept[:-1]) >= REMOVED_AFTER_S
    assert any("404" in trouble for trouble in troubles)
    assert heard.collection.trouble == ""


async def test_a_kind_that_may_not_be_read_is_not_synced_and_says_why(api):
    _, server = api
    server.fail(Fault(effect=Effect.REFUSE, resources=("namespaces",), code=403, times=3))
    heard = Heard(server)
    seen = []

    def is_through():
        seen.append((heard.collection.synced.is_set(), heard.collection.trouble))
        return heard.collection.synced.is_set()

    await heard.until(is_through)

    assert any("403" in trouble for is_synced, trouble in seen if not is_synced)


@pytest.mark.parametrize("effect", [Effect.EXPIRE_EVENT, Effect.CUT_WATCH, Effect.EXPIRE])
async def test_what_went_while_the_watch_was_cut_is_heard_of_once(api, effect):
    state, server = api
    state.create(NAMESPACE, {"metadata": {"name": "one"}})
    server.fail(Fault(effect=effect, verbs=("watch",), resources=("namespaces",)))
    heard = Heard(server)

    def come_and_gone():
        if ("one", {}) in [(k, {}) for k, _ in heard.changes] and "two" not in state_names(state):
            state.create(NAMESPACE, {"metadata": {"name": "two"}})
        return "two" in heard.collection.values

    await heard.until(come_and_gone)

    assert [key for key, _ in heard.changes].count("two") == 1


def state_names(state):
    return {one["metadata"]["name"] for one in state.list(NAMESPACE)}


async def test_what_changes_nothing_that_is_read_is_no_change(api):
    state, server = api
    state.create(NAMESPACE, {"metadata": {"name": "one"}})
    heard = Heard(server)
    version: list[str] = []

    def annotated():
        if "one" in heard.collection.values and not version:
            done = state.patch(NAMESPACE, "one", "", {"metadata": {"annotations": {"a": "b"}}})
            version.append(done.object["metadata"]["resourceVersion"])
        return version and heard.collection.heard == version[0]

    await heard.until(annotated)

    assert [key for key, _ in heard.changes].count("one") == 1


async def test_a_watch_that_says_nothing_for_too_long_is_asked_for_anew(api):
    heard = Heard(api[1], silence_s=0.01)

    await heard.until(lambda: heard.client.watches == 3)

    assert heard.slept == []
    assert heard.collection.trouble == ""


async def test_a_watch_that_is_not_answered_is_trouble_though_it_was_listed(api):
    """That a kind was listed once does not say that it is heard of now."""
    _, server = api
    server.fail(Fault(effect=Effect.DELAY, verbs=("watch",), delay_s=WITHIN_S))
    heard = Heard(server, opens_within_s=0.5)
    seen: list[str] = []

    def goes_on():
        seen.append(heard.collection.trouble)
        return heard.client.watches >= 2 and heard.collection.trouble == ""

    await heard.until(goes_on)

    assert "watch namespaces: no answer within 0.5 s" in seen


async def test_who_knows_better_has_the_watch_asked_for_anew(api):
    heard = Heard(api[1])

    def asked():
        if heard.client.watches == 1:
            heard.collection.ask_again()
        return heard.client.watches == 2

    await heard.until(asked)


async def test_what_the_server_says_is_a_sign_of_life(api):
    now = [100.0]
    heard = Heard(api[1], now=lambda: now[0])
    assert heard.collection.alive_at == 100.0
    now[0] = 200.0

    await heard.until(lambda: heard.collection.alive_at == 200.0)
