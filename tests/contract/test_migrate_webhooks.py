"""Between upstream's webhook and ours nobody gets in without the network that is for them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from terway.cli.migrate_action import Do, Goal
from terway.cli.migrate_cluster import NAMESPACE
from terway.cli.migrate_hold import answers_webhook, held_entries
from terway.cli.migrate_next import next_forward
from terway.cli.migrate_return import next_back
from terway.cli.migrate_run import Next
from terway.cli.migrate_seen import KINDS, PODS
from terway.cli.migrate_whole import rendered
from terway.controlplane.install import read_definitions
from terway.lab.kubeapi.manifests import apply_manifests
from terway.model.errors import VpcError
from tests.support.live_cluster import open_live_cluster
from tests.support.migrating_cluster import FAST, SETTINGS, Cluster, open_migration
from tests.support.upstream_objects import CONTROL_PLANE, webhooks
from tests.support.webhook_server import Answer, WebhookServer, allow, open_webhook_server, patch

NETWORKING = {
    "apiVersion": "network.alibabacloud.com/v1beta1",
    "kind": "PodNetworking",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"podSelector": {"matchLabels": {"app": "web"}}},
        "vSwitchOptions": ["vsw-1"],
        "securityGroupIDs": ["sg-1"],
    },
}
SELECTED = {"labels": {"app": "web"}}
ASKING = {"labels": {"app": "db"}, "annotations": {"k8s.aliyun.com/pod-eni": "true"}}
PLAIN = {"labels": {"app": "db"}}
HOST = {"labels": {"app": "web"}}
NAME = "p-"
NETWORKED = "k8s.aliyun.com/pod-networking"  # which upstream's webhook writes
REFUSED, PASSED = "refused", "passed"


@dataclass
class Shop:
    """A cluster whose upstream answers at `webhook`, as long as `is_up`."""

    cluster: Cluster
    webhook: WebhookServer
    is_up: bool = True
    has_doubts: bool = False

    def answer(self, request: Answer) -> Answer:
        assert self.is_up, "nobody is there"
        metadata = request["object"]["metadata"]
        if metadata.get("generateName") != NAME:
            return allow()  # a controller's
        held = metadata.get("annotations", {})
        self.has_doubts = self.has_doubts or NETWORKED in held  # upstream would refuse it
        annotations = {**held, NETWORKED: "true"}
        return patch({"op": "add", "path": "/metadata/annotations", "value": annotations})

    async def let_in(self, said: dict[str, Any], **spec: Any) -> str:
        """Return what becomes of a pod, which is not made."""
        pod = {
            "metadata": {"generateName": NAME, **said},
            "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec},
        }
        path = PODS.path(namespace="default")
        content = msgspec.json.encode({"apiVersion": "v1", "kind": "Pod", **pod})
        try:
            made = await self.cluster.client.request(
                "POST", path, params={"dryRun": "All"}, content=content
            )
        except VpcError:
            return REFUSED
        found = json.loads(made)["metadata"].get("annotations", {})
        return NETWORKED if NETWORKED in found else PASSED

    async def go(self, next_of: Next, goal: Goal | None = None) -> None:
        """Do all steps; look after each of them who gets in."""
        async with asyncio.timeout(60):
            await self._go(next_of, goal)

    async def _go(self, next_of: Next, goal: Goal | None) -> None:
        seen = ""
        while (action := await self.cluster.step(next_of, goal)) is not None:
            if action.text == seen:
                await asyncio.sleep(FAST.look_every_s)
                continue
            seen = action.text
            if action.do is Do.SCALE_DOWN:
                self.is_up = False
            elif action.do is Do.RESTORE:
                self.is_up = True
            for said in (SELECTED, ASKING):
                assert await self.let_in(said) in (NETWORKED, REFUSED), action.text
            assert await self.let_in(PLAIN) in (NETWORKED, PASSED), action.text
            assert await self.let_in(HOST, hostNetwork=True) in (NETWORKED, PASSED), action.text


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_live_cluster(tmp_path))
        webhook = await stack.enter_async_context(open_webhook_server())
        apply_manifests(server.state, yaml.safe_dump_all([*read_definitions(), NETWORKING]))
        where = {"url": f"https://127.0.0.1:{webhook.port}/m", "caBundle": webhook.ca_bundle}
        found: list[Shop] = []
        webhook.at("/m", lambda request: found[0].answer(request) if found else allow())
        cluster = await stack.enter_async_context(open_migration(server, *webhooks(**where)))
        found.append(Shop(cluster=cluster, webhook=webhook))
        yield found[0]


async def entry(shop: Shop) -> dict[str, Any]:
    kind = KINDS["MutatingWebhookConfiguration"]
    found = await shop.cluster.client.get(kind, CONTROL_PLANE)
    assert found is not None
    one: dict[str, Any] = found["webhooks"][0]
    return one


async def test_who_a_network_is_for_gets_it_or_waits_at_every_step_there_and_back(shop):
    """bug class 20: an upgrade has a moment in which neither version does its work."""
    before = await entry(shop)
    assert await shop.let_in(SELECTED) == NETWORKED

    await shop.go(next_forward)
    assert not shop.is_up
    assert await shop.let_in(SELECTED) == REFUSED
    assert await shop.let_in(ASKING) == REFUSED
    assert await shop.let_in(PLAIN) == PASSED

    # Ours has renewed the certificate meanwhile, in the secret that upstream will serve from.
    renewed = base64.b64encode(base64.b64decode(shop.webhook.ca_bundle) * 2).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "terway-controlplane-webhook-cert", "namespace": NAMESPACE},
        "data": {"ca.crt": renewed},
    }
    apply_manifests(shop.cluster.state, yaml.safe_dump(secret))
    await shop.go(next_back, Goal())
    assert await shop.let_in(SELECTED) == NETWORKED
    assert not shop.has_doubts
    config = {**before["clientConfig"], "caBundle": renewed}
    assert await entry(shop) == {**before, "clientConfig": config}


async def test_a_configuration_that_asks_about_nobody_goes_and_comes_back(tmp_path: Path):
    kind = "MutatingWebhookConfiguration"
    async with open_live_cluster(tmp_path) as server, open_migration(server) as cluster:
        await cluster.client.patch(KINDS[kind], CONTROL_PLANE, {"webhooks": []})
        before = await cluster.objects()

        await cluster.go(next_forward)
        assert f"{kind}/{CONTROL_PLANE}" not in await cluster.objects()

        await cluster.go(next_back, Goal())
        after = await cluster.objects()
        assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(("setting", "answers"), [("{}", True), ("{disableWebhook: true}", False)])
def test_upstreams_webhooks_are_held_where_ours_will_answer(setting, answers):
    manifests = rendered((), (*SETTINGS, f"controlPlane.config={setting}"))

    assert answers_webhook(manifests) is answers
    assert not answers_webhook(one for one in manifests if one["kind"] != "ConfigMap")


def test_a_server_without_conditions_holds_those_that_labels_tell():
    mutating, validating = webhooks()

    held = held_entries(mutating["webhooks"], [NETWORKING], with_conditions=False)

    (selecting,) = [one for one in held if one["rules"][0]["resources"] == ["pods"]]
    assert selecting["failurePolicy"] == "Fail"
    assert selecting["objectSelector"]["matchLabels"] == {"app": "web"}
    assert not any("matchConditions" in one for one in held)
    (kept,) = held_entries(validating["webhooks"], [NETWORKING], with_conditions=False)
    assert kept["rules"] == validating["webhooks"][0]["rules"]


@pytest.mark.parametrize("with_conditions", [True, False])
def test_an_entry_without_rules_asks_about_nobody(with_conditions):
    (entry,) = webhooks()[0]["webhooks"]
    without = {name: held for name, held in entry.items() if name != "rules"}

    assert held_entries([without], [NETWORKING], with_conditions=with_conditions) == []
