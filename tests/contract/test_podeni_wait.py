"""A node waits for a PodENI by a watch, and says what is missing when it has waited enough."""

from __future__ import annotations

import asyncio

import pytest

from terway.agent.interfaces import InterfacePolicy
from terway.agent.podeni_claims import PodENIs
from terway.controlplane.install import read_definitions
from terway.kube.client import KubeClient
from terway.kube.crds import POD_ENIS
from terway.kube.resource import NAMESPACES
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION
from terway.model.errors import TransientError
from terway.model.ids import InstanceId
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server
from tests.support.podenis import HERE, TRUNK, call, pod, podeni

LONG_S = 30.0


@pytest.fixture
async def server(tmp_path):
    state = make_cluster()
    for one in read_definitions():
        state.create(CUSTOM_RESOURCE_DEFINITION, one)
    async with open_kube_server(state, tmp_path) as server:
        yield server


@pytest.fixture
async def client(server):
    async with KubeClient(server.unix) as client:
        await client.create(NAMESPACES, {"metadata": {"name": "shop"}})
        yield client


def claims(client: KubeClient, patience_s: float = LONG_S, **more) -> PodENIs:
    return PodENIs(
        client,
        instance_id=InstanceId(HERE),
        eni=lambda _: TRUNK,
        patience_s=patience_s,
        **more,
    )


async def create(client: KubeClient, **status) -> None:
    await client.create(POD_ENIS, podeni(), namespace="shop")
    await put_status(client, **status)


async def put_status(client: KubeClient, **status) -> None:
    await client.patch(
        POD_ENIS,
        "web-0",
        {"status": {**podeni()["status"], **status}},
        namespace="shop",
        subresource="status",
    )


async def test_one_that_is_bound_already_is_taken_at_once(client):
    await create(client)

    [one] = await claims(client).interfaces(call(), pod(), InterfacePolicy())

    assert one.lease is not None
    assert one.lease.eni_id == "eni-31"


async def test_one_that_comes_later_is_heard_of_and_so_is_its_binding(client):
    waiting = asyncio.ensure_future(claims(client).interfaces(call(), pod(), InterfacePolicy()))
    await create(client, phase="Binding")
    assert not waiting.done()

    await put_status(client)

    assert [one.lease and one.lease.eni_id for one in await waiting] == ["eni-31"]


async def test_who_has_waited_enough_is_told_what_is_missing(client):
    with pytest.raises(TransientError, match="there is none of its name"):
        await claims(client, 0.2).interfaces(call(), pod(), InterfacePolicy())

    await create(client, phase="Binding", msg="vsw-1 is full")
    with pytest.raises(TransientError, match="phase is Binding, not Bind: vsw-1 is full") as told:
        await claims(client, 0.2).interfaces(call(), pod(), InterfacePolicy())
    assert told.value.code == "PodENINotReady"


async def test_who_waits_at_an_API_server_that_answers_late_is_told_what_was_seen_first(
    server, client
):
    await create(client, phase="Binding", msg="vsw-1 is full")
    server.fail(Fault(effect=Effect.DELAY, verbs=("list",), delay_s=LONG_S))

    with pytest.raises(TransientError, match="phase is Binding, not Bind: vsw-1 is full"):
        await claims(client, 0.0).interfaces(call(), pod(), InterfacePolicy())


async def test_only_pods_that_are_said_to_have_one_wait_for_one(client):
    ordinary = pod()
    ordinary.metadata.annotations.clear()

    assert claims(client).has_one(pod())
    assert not claims(client).has_one(ordinary)
    assert not claims(client).has_one(None)
    assert claims(client, is_for_all=True).has_one(ordinary)


@pytest.mark.parametrize(
    ("said", "is_central", "has_one"),
    [
        ({"pod-networking": "red"}, False, True),
        ({"pod-networks-request": "[]"}, False, True),
        ({"pod-networks": "{}"}, False, False),
        ({"pod-networks": "{}"}, True, True),
        ({"pod-networking": "red", "pod-eni": "false"}, True, False),
        ({"pod-eni": "True"}, False, True),
    ],
)
async def test_who_asks_gets_no_address_of_the_pool_whatever_a_webhook_saw(
    client, said, is_central, has_one
):
    asking = pod()
    asking.metadata.annotations.clear()
    asking.metadata.annotations.update(
        {f"k8s.aliyun.com/{one}": text for one, text in said.items()}
    )

    assert claims(client, is_central=is_central).has_one(asking) is has_one
