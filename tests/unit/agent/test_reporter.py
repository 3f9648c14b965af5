"""Pods learn their addresses, whenever the API server takes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any, cast

from terway.agent.reporter import QUEUE_LIMIT, PodReporter
from terway.kube.backoff import Backoff
from terway.model.address import IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.errors import CapacityError, ConflictError, TransientError, UsageError
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.interface import InterfaceSpec
from terway.model.moment import Moment


class FakeEvents:
    def __init__(self):
        self.recorded = []

    def record(self, target, type_, reason, message):
        self.recorded.append((target.name, type_, reason, message))


class FakeClient:
    def __init__(self, *errors):
        self.errors = list(errors)
        self.patched = []

    async def patch(self, _resource, name, patch, *, namespace):
        if self.errors:
            raise self.errors.pop(0)
        self.patched.append((namespace, name, patch["metadata"]))


def attachment(pod):
    return Attachment(
        key=AttachmentKey(container_id=ContainerId("c1"), ifname="eth0"),
        network="terway",
        netns="",
        pod=pod,
        lease=Lease(
            eni_id=ENIId("eni-1"),
            eni_mac=MacAddress("00:16:3e:00:00:01"),
            addresses=IPPair(v4=IPv4Address("10.0.0.1"), v6=IPv6Address("fd00::1")),
        ),
        made_at=Moment(boot_id="boot", seconds=0.0),
    )


WEB = PodRef(namespace="default", name="web", uid="u1")


def reporter(client, *, patches_pods=True):
    events = FakeEvents()
    backoff = Backoff(Random(0), initial_s=0.0)
    told: Any = PodReporter(client, cast("Any", events), patches_pods=patches_pods, backoff=backoff)
    return events, told


async def test_a_success_is_an_event_and_an_annotation_on_that_very_pod():
    """Bug class 22: the kubelet's own podIP comes later."""
    client = FakeClient()
    events, told = reporter(client)

    told.add_succeeded(attachment(WEB), elapsed_s=0.0123)
    await told.flush()

    message = "Alloc IP 10.0.0.1,fd00::1 took 12.3ms"
    assert events.recorded == [("web", "Normal", "AllocIPSucceed", message)]
    annotations = {"k8s.aliyun.com/pod-ips": "10.0.0.1,fd00::1"}
    assert client.patched == [("default", "web", {"annotations": annotations, "uid": "u1"})]


async def test_a_failure_is_a_warning():
    events, told = reporter(FakeClient())

    told.add_failed(WEB, TransientError("the cloud is away"))

    assert events.recorded == [("web", "Warning", "AllocIPFailed", "the cloud is away")]


async def test_an_api_server_that_is_away_is_asked_again():
    client = FakeClient(TransientError("away"), TransientError("away"))
    _, told = reporter(client)

    told.add_succeeded(attachment(WEB), elapsed_s=0.0)
    await told.flush()

    assert len(client.patched) == 1


class PickyClient(FakeClient):
    """An API server whose webhook for one namespace is away."""

    def __init__(self):
        super().__init__()
        self.was_patched = asyncio.Event()

    async def patch(self, resource, name, patch, *, namespace):
        if namespace == "broken":
            raise TransientError("failed calling webhook")
        await super().patch(resource, name, patch, namespace=namespace)
        self.was_patched.set()


async def test_a_pod_that_cannot_be_told_keeps_no_other_from_being_told():
    """Bug class 22: addresses that come late."""
    client = PickyClient()
    _, told = reporter(client)
    broken = PodRef(namespace="broken", name="first", uid="u2")

    told.add_succeeded(attachment(broken), elapsed_s=0.0)
    told.add_succeeded(attachment(WEB), elapsed_s=0.0)
    async with asyncio.timeout(5):
        flushing = asyncio.create_task(told.flush())
        await client.was_patched.wait()
        flushing.cancel()

    assert [name for _, name, _ in client.patched] == ["web"]


async def test_what_waits_for_an_api_server_that_is_away_is_limited():
    """Bug class 56: queues without bounds."""
    client = FakeClient()
    _, told = reporter(client)

    for number in range(QUEUE_LIMIT + 5):
        pod = PodRef(namespace="default", name=f"p{number}", uid="")
        told.add_succeeded(attachment(pod), elapsed_s=0.0)
    await told.flush()

    names = [name for _, name, _ in client.patched]
    assert names == [f"p{number}" for number in range(5, QUEUE_LIMIT + 5)]


async def test_a_pod_that_is_gone_is_dropped():
    """Bug class 58: what is not found is not asked for again."""
    client = FakeClient(ConflictError("gone", code="NotFound"))
    _, told = reporter(client)

    told.add_succeeded(attachment(WEB), elapsed_s=0.0)
    await told.flush()

    assert client.patched == []


async def test_without_the_setting_and_without_a_pod_nothing_is_patched():
    client = FakeClient()
    _, silent = reporter(client, patches_pods=False)
    _, told = reporter(client)

    silent.add_succeeded(attachment(WEB), elapsed_s=0.0)
    told.add_succeeded(attachment(None), elapsed_s=0.0)
    await silent.flush()
    await told.flush()

    assert client.patched == []


async def test_what_a_terwayd_that_was_killed_did_not_tell_is_told_by_the_next():
    """Bug class 14: the annotation was queued in a process that is no more."""
    client = FakeClient()
    _, told = reporter(client)
    gone = PodRef(namespace="default", name="gone", uid="u2")
    said = {WEB: ""}

    told.catch_up([attachment(WEB), attachment(gone)], said.get)
    await told.flush()

    assert [(name, one["annotations"]) for _, name, one in client.patched] == [
        ("web", {"k8s.aliyun.com/pod-ips": "10.0.0.1,fd00::1"})
    ]


async def test_a_pod_of_several_networks_is_told_what_the_runtime_asked_for():
    client = FakeClient()
    _, told = reporter(client)
    beside = replace(attachment(WEB), spec=InterfaceSpec(parent="eth0"))
    lease = replace(beside.lease, addresses=IPPair(v4=IPv4Address("10.9.0.1")))

    told.catch_up([attachment(WEB), replace(beside, lease=lease)], {WEB: ""}.get)
    await told.flush()

    assert [one["annotations"] for _, _, one in client.patched] == [
        {"k8s.aliyun.com/pod-ips": "10.0.0.1,fd00::1"}
    ]


async def test_what_was_told_is_not_told_again():
    client = FakeClient()
    _, told = reporter(client)

    told.catch_up([attachment(WEB)], {WEB: "10.0.0.1,fd00::1"}.get)
    await told.flush()

    assert client.patched == []


def test_a_node_without_addresses_is_told_at_the_node_too_and_a_wrong_pod_is_not():
    class Node:
        said: list[tuple[str, str]] = []  # noqa: RUF012 - one node, one test

        def tell_node(self, reason, message):
            self.said.append((reason, message))

    _, told = reporter(FakeClient())
    told.node = Node()

    told.add_failed(WEB, CapacityError("the vSwitch is full"))
    told.add_failed(WEB, UsageError("an annotation is wrong"))

    assert Node.said == [("AllocIPFailed", "the vSwitch is full")]
