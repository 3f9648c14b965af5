"""What kubectl's user reads when a network cannot be had: the field, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.crds import POD_NETWORKINGS
from terway.kube.resource import CONFIG_MAPS
from terway.kube.types import ConfigMap, ObjectMeta
from tests.contract.test_controlplane_process import serving
from tests.contract.test_controlplane_webhook import ENI_CONF, Webhook
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.witness, pytest.mark.asyncio(loop_scope="module")]

PREFIX = "k8s.aliyun.com/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubectl(tmp_path_factory) -> AsyncIterator[Kubectl]:
    folder = tmp_path_factory.mktemp("webhook")
    async with serving(folder) as (server, client), asyncio.TaskGroup() as tasks:
        metadata = ObjectMeta(name="eni-config", namespace="kube-system")
        await client.create(CONFIG_MAPS, ConfigMap(metadata=metadata, data={"eni_conf": ENI_CONF}))
        one = Webhook(server, folder, "one")
        tasks.create_task(one.run())
        await one.ready()
        kubectl = Kubectl(folder, server.kubeconfig)
        assert (await apply(kubectl, networking("good"))).code == 0
        selecting = networking("selecting", selector={"podSelector": {"matchLabels": {"a": "b"}}})
        assert (await apply(kubectl, selecting)).code == 0
        for name in ("good", "selecting"):
            # No controller of these runs here: what it would say is said by hand.
            status = {"status": {"status": "Ready"}}
            await client.patch(POD_NETWORKINGS, name, status, subresource="status")
        yield kubectl
        one.stop.set()


async def apply(kubectl: Kubectl, body: dict[str, Any]):
    return await kubectl.run("apply", "-f", "-", stdin=json.dumps(body))


def networking(name: str = "net", **spec: Any) -> dict[str, Any]:
    kind = {"apiVersion": "network.alibabacloud.com/v1beta1", "kind": "PodNetworking"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def pod(owner: str = "", **annotations: Any) -> dict[str, Any]:
    said = {
        f"{PREFIX}{name.replace('_', '-')}": held if isinstance(held, str) else json.dumps(held)
        for name, held in annotations.items()
    }
    owners = [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u", "controller": True}]
    metadata = {"name": "asks", "annotations": said, "ownerReferences": owners if owner else []}
    spec = {"containers": [{"name": "c", "image": "busybox"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def networks(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"podNetworks": [{"interface": "eth0", **one} for one in listed]}


def fixed(**more: Any) -> dict[str, Any]:
    return {"allocationType": {"type": "Fixed", **more}}


GROUPS = [f"sg-{number}" for number in range(11)]
REQUEST = [{"interfaceName": "eth0", "network": "good"}]
NETWORKINGS = {
    "groups": (
        {"securityGroupIDs": GROUPS},
        ("spec.securityGroupIDs", "10"),
    ),
    "vSwitches that are none": (
        {"vSwitchOptions": ["subnet-1"]},
        ("spec.vSwitchOptions[0]", '"vsw-…"'),
    ),
    "a time that is none": (
        fixed(releaseStrategy="TTL", releaseAfter="tomorrow"),
        ("spec.allocationType.releaseAfter", "must be a duration"),
    ),
    "a time too short": (
        fixed(releaseStrategy="TTL", releaseAfter="1m"),
        ("spec.allocationType.releaseAfter", "must be 5m at least"),
    ),
    "a time for what never goes": (
        fixed(releaseStrategy="Never", releaseAfter="10m"),
        ("spec.allocationType.releaseAfter", "remove it"),
    ),
    "a strategy that is none": (
        fixed(releaseStrategy="Later"),
        ("spec.allocationType.releaseStrategy", "Never"),
    ),
    "a type that is none": (
        {"allocationType": {"type": "Sticky"}},
        ("spec.allocationType.type", "Fixed"),
    ),
    "a selector without values": (
        {"selector": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
        ("matchExpressions[0].values", "must have values"),
    ),
}


@pytest.mark.parametrize("what", NETWORKINGS)
@pytest.mark.parametrize("verb", ["create", "update"])
async def test_a_pod_networking_that_no_pod_could_have_is_refused(kubectl, verb, what):
    spec, words = NETWORKINGS[what]
    name = "good" if verb == "update" else "bad"

    told = await apply(kubectl, networking(name, **spec))

    assert told.code == 1, told
    for word in words:
        assert word in told.err
    held = json.loads(await kubectl("get", "podnetworking", "good", "-o", "json"))
    assert held["spec"]["vSwitchOptions"] == ["vsw-a"]


PODS = {
    "two of three": (
        pod(pod_networking="good", pod_networks_request=REQUEST),
        ("k8s.aliyun.com/pod-networking", "excludes", "keep one of the two"),
    ),
    "another two of three": (
        pod(pod_networks=networks({}), pod_networks_request=REQUEST),
        ("k8s.aliyun.com/pod-networks-request", "excludes", "keep one of the two"),
    ),
    "all three": (
        pod(pod_networks=networks({}), pod_networks_request=REQUEST, pod_networking="good"),
        ("k8s.aliyun.com/pod-networking", "excludes", "keep one of the two"),
    ),
    "no JSON": (
        pod(pod_networks="{"),
        ("k8s.aliyun.com/pod-networks", "JSON"),
    ),
    "a long name": (
        pod(pod_networks=networks({"interface": "ethernet0"})),
        ("podNetworks[0].interface", "1 to 5"),
    ),
    "the name of the loopback": (
        pod(pod_networks=networks({"interface": "lo"})),
        ("podNetworks[0].interface", "not lo"),
    ),
    "a name twice": (
        pod(pod_networks=networks({}, {})),
        ("podNetworks[1].interface", "name another"),
    ),
    "no eth0": (
        pod(pod_networks=networks({"interface": "eth1"})),
        ("podNetworks", "must have a network with interface eth0"),
    ),
    "groups": (
        pod(pod_networks=networks({"securityGroupIDs": GROUPS})),
        ("podNetworks[0].securityGroupIDs", "10"),
    ),
    "a short time": (
        pod(pod_networks=networks(fixed(releaseAfter="1m"))),
        ("podNetworks[0].allocationType.releaseAfter", "must be 5m at least"),
    ),
    "a time for what never goes": (
        pod(pod_networks=networks(fixed(releaseStrategy="Never", releaseAfter="10m"))),
        ("podNetworks[0].allocationType.releaseAfter", "remove it"),
    ),
    "a name that does not stay": (
        pod("ReplicaSet", pod_networks=networks(fixed(releaseAfter="10m"))),
        ("podNetworks[0].allocationType.type is Fixed", "make it Elastic"),
    ),
    "a network that is not there": (
        pod(pod_networking="nowhere"),
        ("k8s.aliyun.com/pod-networking is nowhere", "make it first"),
    ),
    "a request for one with selectors": (
        pod(pod_networks_request=[{"interfaceName": "eth0", "network": "selecting"}]),
        ("pod-networks-request[0].network", "name one without"),
    ),
    "whole and member": (
        pod(
            pod_networks=networks(
                {"eniOptions": {"eniType": "ENI"}},
                {"interface": "eth1", "eniOptions": {"eniType": "Trunk"}},
            )
        ),
        ("eniType", "use one of the two"),
    ),
    "two default routes": (
        pod(
            pod_networks=networks(
                {"defaultRoute": True}, {"interface": "eth1", "defaultRoute": True}
            )
        ),
        ("podNetworks", "only one network may have defaultRoute"),
    ),
    "an answer that is none": (
        pod(pod_eni="maybe"),
        ("k8s.aliyun.com/pod-eni", 'must be "true" or "false"'),
    ),
}


@pytest.mark.parametrize("what", PODS)
async def test_a_pod_that_asks_for_what_cannot_be_had_is_refused(kubectl, what):
    body, words = PODS[what]

    told = await apply(kubectl, body)

    assert told.code == 1, told
    assert "denied the request" in told.err
    for word in words:
        assert word in told.err
    assert (await kubectl.run("get", "pod", "asks")).code == 1


async def test_what_changes_nothing_of_a_network_is_not_held_to_new_rules(kubectl):
    told = await kubectl("label", "podnetworking", "good", "checked=yes")
    assert "labeled" in told
