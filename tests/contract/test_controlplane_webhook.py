"""The webhook of the whole process, asked by an API server: registered, trusted, answering."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import pytest
from msgspec import structs

from terway.controlplane.certkeeper import SECRETS
from terway.controlplane.hooks import MUTATING, VALIDATING
from terway.kube.client import KubeClient
from terway.kube.crds import (
    POD_NETWORKINGS,
    LabelSelector,
    PodNetworking,
    PodNetworkingSelector,
    PodNetworkingSpec,
    PodNetworkingStatus,
    VSwitchInZone,
)
from terway.kube.resource import CONFIG_MAPS, PODS
from terway.kube.types import ConfigMap, ObjectMeta
from terway.model.errors import UsageError, VpcError
from tests.contract.test_controlplane_process import Instance, serving

PORT, HEALTH_PORT = 14443, 18095
ENI_CONF = '{"vswitches": {"cn-lab-a": ["vsw-a"]}, "security_group": "sg-1"}'


class Webhook(Instance):
    """A process whose webhook the API server reaches at loopback."""

    def __init__(self, server: Any, folder: Any, name: str, *, number: int = 0) -> None:
        self.ready_url = f"http://127.0.0.1:{HEALTH_PORT + number}/readyz"
        super().__init__(
            server,
            folder,
            name,
            disableWebhook=False,
            webhookPort=PORT + number,
            webhookURL=f"https://127.0.0.1:{PORT + number}",
            healthzBindAddress=f"127.0.0.1:{HEALTH_PORT + number}",
        )

    async def ready(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(20):
            while True:
                try:
                    async with session.get(self.ready_url) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass  # it does not listen yet
                await asyncio.sleep(0.02)


def pod(name: str, **annotations: str) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "default",
        "labels": {"app": name},
        "annotations": {f"k8s.aliyun.com/{one}": value for one, value in annotations.items()},
    }
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}


async def make_network(client: KubeClient, name: str, app: str) -> None:
    made = await client.create(
        POD_NETWORKINGS,
        PodNetworking(
            metadata=ObjectMeta(name=name),
            spec=PodNetworkingSpec(
                selector=PodNetworkingSelector(
                    pod_selector=LabelSelector(match_labels={"app": app})
                ),
            ),
        ),
    )
    zones = (VSwitchInZone(id="vsw-a", zone="cn-lab-a"),)
    status = PodNetworkingStatus(status="Ready", vswitches=zones)
    await client.update(POD_NETWORKINGS, structs.replace(made, status=status), subresource="status")


async def create(client: KubeClient, body: dict[str, Any]) -> dict[str, Any]:
    raw = PODS.typed(dict[str, Any])
    return await client.create(raw, body)


async def test_a_pod_gets_its_network_by_way_of_the_api_server(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        metadata = ObjectMeta(name="eni-config", namespace="kube-system")
        await client.create(CONFIG_MAPS, ConfigMap(metadata=metadata, data={"eni_conf": ENI_CONF}))
        one = Webhook(server, tmp_path, "one")
        tasks.create_task(one.run())
        await one.ready()
        await make_network(client, "net-web", "web")
        found = await client.get(POD_NETWORKINGS, "net-web")
        assert found is not None
        assert found.spec.vswitch_options == ("vsw-a",)
        assert found.spec.security_group_ids == ("sg-1",)

        number = 0
        annotations: dict[str, str] = {}
        # What was just made reaches the webhook's own copy a moment later.
        while "k8s.aliyun.com/pod-networking" not in annotations:
            number += 1
            body = pod(f"web-{number}")
            body["metadata"]["labels"] = {"app": "web"}
            annotations = (await create(client, body))["metadata"].get("annotations") or {}

        assert annotations["k8s.aliyun.com/pod-networking"] == "net-web"
        assert annotations["k8s.aliyun.com/pod-eni"] == "true"
        plain = await create(client, pod("plain"))
        assert not plain["metadata"].get("annotations")
        one.stop.set()


async def test_what_cannot_be_had_is_refused_with_field_and_remedy(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        one = Webhook(server, tmp_path, "one")
        tasks.create_task(one.run())
        await one.ready()

        with pytest.raises(UsageError, match="there is no such PodNetworking"):
            await create(client, pod("a", **{"pod-networking": "nowhere"}))
        with pytest.raises(UsageError, match=r"spec\.vSwitchOptions is empty"):
            await client.create(POD_NETWORKINGS, PodNetworking(metadata=ObjectMeta(name="none")))
        one.stop.set()


async def test_without_a_webhook_others_are_not_held_up_and_networks_are_not_made_unseen(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        one = Webhook(server, tmp_path, "one")
        running = tasks.create_task(one.run())
        await one.ready()
        one.stop.set()
        await running

        assert (await create(client, pod("plain")))["metadata"]["name"] == "plain"
        with pytest.raises(VpcError, match="failed calling webhook"):
            await client.create(POD_NETWORKINGS, PodNetworking(metadata=ObjectMeta(name="n")))


async def test_several_replicas_show_one_certificate_and_are_known_by_one_ca(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        both = [Webhook(server, tmp_path, name, number=n) for n, name in enumerate(("a", "b"))]
        for one in both:
            tasks.create_task(one.run())
        for one in both:
            await one.ready()

        name = "terway-controlplane-webhook-cert"
        secret = await client.get(SECRETS, name, namespace="kube-system")
        assert secret is not None
        assert set(secret["data"]) >= {"tls.crt", "tls.key", "ca.crt"}
        for resource in (MUTATING, VALIDATING):
            found = await client.get(resource, "terway-controlplane")
            assert found is not None
            assert {one["clientConfig"]["caBundle"] for one in found["webhooks"]} == {
                secret["data"]["ca.crt"]
            }
        assert b"BEGIN CERTIFICATE" in base64.b64decode(secret["data"]["ca.crt"])
        for one in both:
            one.stop.set()
