"""What callers of KubeClient rely on, held against an API server with the real one's semantics."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from terway.kube.backoff import Backoff
from terway.kube.client import EVERYTHING, KubeClient, PatchType, Propagation, Selector
from terway.kube.connection import Connection
from terway.kube.errors import is_expired
from terway.kube.events import NORMAL, WARNING, EventRecorder, pod_reference
from terway.kube.informer import Informer
from terway.kube.lease import renew_lease
from terway.kube.resource import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    NODES,
    PODS,
    ObjectKey,
    Resource,
)
from terway.kube.types import ConfigMap, ObjectMeta
from terway.kube.watch import Bookmark, EventType, WatchEvent
from terway.lab.kubeapi.faults import Effect, Fault
from terway.model.errors import ConflictError, ThrottledError, TransientError, UsageError
from tests.support.cluster import START, make_cluster, pod_manifest
from tests.support.kube_server import READER_TOKEN, open_kube_server


@pytest.fixture
async def server(tmp_path):
    async with open_kube_server(make_cluster(), tmp_path) as server:
        yield server


@pytest.fixture(params=["tls", "unix"])
async def client(server, request):
    connection = server.tls if request.param == "tls" else server.unix
    async with KubeClient(connection) as client:
        yield client


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def test_what_is_created_can_be_read(client):
    created = await client.create(CONFIG_MAPS, config_map("a", key="value"))

    read = await client.get(CONFIG_MAPS, "a", namespace="default")

    assert read == created
    assert read.data == {"key": "value"}
    assert read.metadata.uid


async def test_what_is_not_there_is_none(client):
    assert await client.get(CONFIG_MAPS, "a", namespace="default") is None


async def test_creating_twice_is_a_conflict_that_says_so(client):
    await client.create(CONFIG_MAPS, config_map("a"))

    with pytest.raises(ConflictError) as caught:
        await client.create(CONFIG_MAPS, config_map("a"))

    assert caught.value.code == "AlreadyExists"


async def test_a_list_reads_all_pages(client):
    for index in range(7):
        await client.create(CONFIG_MAPS, config_map(f"m{index}"))

    listing = await client.list(CONFIG_MAPS, namespace="default", page_size=3)

    assert [one.metadata.name for one in listing.items] == [f"m{index}" for index in range(7)]
    assert int(listing.resource_version) > 0


async def test_a_list_is_narrowed_by_selectors(client, server):
    server.state.create(_row(PODS), pod_manifest("a", app="x"))
    server.state.create(_row(PODS), pod_manifest("b", app="y"))

    by_label = await client.list(PODS, selector=Selector(labels="app=x"))
    by_field = await client.list(PODS, selector=Selector(fields="metadata.name=b"))

    assert [pod.metadata.name for pod in by_label.items] == ["a"]
    assert [pod.metadata.name for pod in by_field.items] == ["b"]


def _row(resource: Resource[Any]):
    state = make_cluster()
    return state.table.of_kind(resource.api_version, resource.kind)


async def test_a_room_can_read_more_than_the_types_have(client, server):
    server.state.create(_row(PODS), pod_manifest("a"))

    pod = await client.get(PODS.typed(dict[str, Any]), "a", namespace="default")

    assert pod is not None
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == "Always"


PATCHES = [
    (PatchType.MERGE, {"data": {"b": "2"}}),
    (PatchType.STRATEGIC, {"data": {"b": "2"}}),
    (PatchType.JSON, [{"op": "add", "path": "/data/b", "value": "2"}]),
    (PatchType.APPLY, {"data": {"b": "2"}}),
]


@pytest.mark.parametrize(("kind", "patch"), PATCHES)
async def test_each_kind_of_patch_adds_to_what_is_there(client, kind, patch):
    await client.create(CONFIG_MAPS, config_map("a", a="1"))

    changed = await client.patch(CONFIG_MAPS, "a", patch, namespace="default", kind=kind)

    assert changed.data == {"a": "1", "b": "2"}


async def test_patching_what_is_not_there_is_a_conflict(client):
    with pytest.raises(ConflictError) as caught:
        await client.patch(CONFIG_MAPS, "a", {"data": {}}, namespace="default")

    assert caught.value.code == "NotFound"


async def test_a_status_patch_goes_to_the_status(client):
    node: dict[str, Any] = {"metadata": {"name": "n1"}}
    await client.create(NODES.typed(dict[str, Any]), node)
    condition = {"type": "SufficientIP", "status": "True"}

    changed = await client.patch(
        NODES,
        "n1",
        {"status": {"conditions": [condition]}},
        kind=PatchType.STRATEGIC,
        subresource="status",
    )

    assert [one.type for one in changed.status.conditions] == ["SufficientIP"]


async def test_an_update_of_an_old_version_is_a_conflict(client):
    old = await client.create(CONFIG_MAPS, config_map("a"))
    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "y"}}, namespace="default")

    with pytest.raises(ConflictError) as caught:
        await client.update(CONFIG_MAPS, old)

    assert caught.value.code == "Conflict"


async def test_deleting_says_whether_there_was_something(client):
    await client.create(CONFIG_MAPS, config_map("a"))

    first = await client.delete(
        CONFIG_MAPS, "a", namespace="default", propagation=Propagation.BACKGROUND
    )
    second = await client.delete(CONFIG_MAPS, "a", namespace="default")

    assert (first, second) == (True, False)


async def test_deleting_another_object_of_the_name_is_a_conflict(client):
    await client.create(CONFIG_MAPS, config_map("a"))

    with pytest.raises(ConflictError):
        await client.delete(CONFIG_MAPS, "a", namespace="default", uid="somebody-else")


async def test_what_breaks_a_rule_is_refused_with_the_servers_words(client):
    with pytest.raises(UsageError, match="a lowercase RFC 1123 subdomain") as caught:
        await client.create(CONFIG_MAPS, config_map("Not_A_Name"))

    assert caught.value.code == "Invalid"


@pytest.mark.parametrize(
    ("token", "word"), [("stranger", "Unauthorized"), (READER_TOKEN, 'User "reader" cannot create')]
)
async def test_who_may_not_is_told_so(server, token, word):
    connection = Connection(server=server.tls.server, ca_pem=server.tls.ca_pem, token=token)
    async with KubeClient(connection) as client:
        with pytest.raises(UsageError, match=word):
            await client.create(CONFIG_MAPS, config_map("a"))


async def test_a_server_with_another_ca_is_not_trusted(server):
    async with KubeClient(Connection(server=server.tls.server)) as client:
        with pytest.raises(TransientError, match="certificate verify failed"):
            await client.list(CONFIG_MAPS)


async def test_no_server_is_a_transient_error(tmp_path):
    async with KubeClient(Connection(server=f"unix://{tmp_path}/none.sock")) as client:
        with pytest.raises(TransientError):
            await client.list(CONFIG_MAPS)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(effect=Effect.REFUSE, code=503), TransientError),
        (Fault(effect=Effect.REFUSE, code=500), TransientError),
        (Fault(effect=Effect.REFUSE, code=429), ThrottledError),
        (Fault(effect=Effect.LOSE_REPLY), TransientError),
    ],
)
async def test_a_failing_server_is_told_apart_from_a_wrong_request(client, server, fault, error):
    server.fail(fault)

    with pytest.raises(error):
        await client.create(CONFIG_MAPS, config_map("a"))


async def test_a_lost_reply_may_have_been_a_success(client, server):
    server.fail(Fault(effect=Effect.LOSE_REPLY))
    with pytest.raises(TransientError):
        await client.create(CONFIG_MAPS, config_map("a"))

    with pytest.raises(ConflictError):
        await client.create(CONFIG_MAPS, config_map("a"))


async def test_a_server_that_is_too_slow_is_a_transient_error(server):
    server.fail(Fault(effect=Effect.DELAY, delay_s=60))

    async with KubeClient(server.unix, timeout_s=0.05) as client:
        with pytest.raises(TransientError):
            await client.list(CONFIG_MAPS)


async def test_a_watch_tells_what_happens_after_a_list(client):
    listing = await client.list(CONFIG_MAPS, namespace="default")
    await client.create(CONFIG_MAPS, config_map("a"))
    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "y"}}, namespace="default")
    await client.delete(CONFIG_MAPS, "a", namespace="default")

    seen = []
    events = client.watch(CONFIG_MAPS, since=listing.resource_version, namespace="default")
    async with aclosing(events):
        async for event in events:
            assert isinstance(event, WatchEvent)
            seen.append((event.type, event.object.data))
            if event.type is EventType.DELETED:
                break

    assert seen == [
        (EventType.ADDED, {}),
        (EventType.MODIFIED, {"x": "y"}),
        (EventType.DELETED, {"x": "y"}),
    ]


async def test_a_quiet_watch_ends_with_a_bookmark_to_resume_from(client):
    listing = await client.list(CONFIG_MAPS, namespace="default")
    await client.create(EVENTS.typed(dict[str, Any]), EVENT)

    events = [
        event
        async for event in client.watch(
            CONFIG_MAPS, since=listing.resource_version, namespace="default", timeout_s=1
        )
    ]

    bookmark = events[-1]
    assert isinstance(bookmark, Bookmark)
    assert int(bookmark.resource_version) > int(listing.resource_version)


EVENT = {
    "metadata": {"name": "e", "namespace": "default"},
    "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
}


@pytest.mark.parametrize("effect", [Effect.EXPIRE, Effect.EXPIRE_EVENT])
async def test_a_watch_from_a_forgotten_revision_says_list_again(client, server, effect):
    server.fail(Fault(effect=effect, verbs=("watch",)))

    with pytest.raises(ConflictError) as caught:
        async for _ in client.watch(CONFIG_MAPS, since="1"):
            pass

    assert is_expired(caught.value)


async def test_a_pod_that_is_bound_appears_to_who_watches_its_node(client, server):
    listing = await client.list(PODS)
    server.state.create(_row(PODS), pod_manifest("a"))
    binding = b'{"target":{"name":"n1"}}'
    await client.request("POST", "/api/v1/namespaces/default/pods/a/binding", content=binding)

    on_node = Selector(fields="spec.nodeName=n1")
    events = client.watch(PODS, since=listing.resource_version, selector=on_node)
    async with aclosing(events):
        event = await anext(events)

    assert isinstance(event, WatchEvent)
    assert (event.type, event.object.spec.node_name) == (EventType.ADDED, "n1")


async def test_an_informer_is_synced_after_its_first_list(client, server):
    server.state.create(_row(PODS), pod_manifest("a"))
    informer = Informer(client, PODS, backoff=Backoff(Random(1)), selector=EVERYTHING)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(informer.run())
        await informer.synced.wait()
        running.cancel()

    assert list(informer.objects) == [ObjectKey(namespace="default", name="a")]


async def test_repeated_events_are_counted(client):
    recorder = EventRecorder(client, component="terwayd", host="n1", clock=lambda: START)
    target = pod_reference("default", "a", "uid-of-a")

    for _ in range(3):
        recorder.record(target, NORMAL, "AllocIPSucceed", "Alloc IP 192.168.32.9 took 5 ms")
    recorder.record(target, NORMAL, "AllocIPSucceed", "Alloc IP 192.168.32.10 took 5 ms")
    await recorder.flush()

    events = (await client.list(EVENTS, namespace="default")).items
    assert sorted((event.count, event.message) for event in events) == [
        (1, "Alloc IP 192.168.32.10 took 5 ms"),
        (3, "Alloc IP 192.168.32.9 took 5 ms"),
    ]
    assert {event.involved_object.uid for event in events} == {"uid-of-a"}


async def test_refusals_of_the_cloud_that_differ_in_their_request_ids_are_one_event(client):
    """Each retry has an id of its own; a pod that waits must not fill the API server."""
    recorder = EventRecorder(client, component="terwayd", host="n1", clock=lambda: START)
    target = pod_reference("default", "a", "uid-of-a")

    for number in range(3):
        text = f"the cloud answered 403 Forbidden.RAM: No. (RequestId {number}-AB); grant it"
        recorder.record(target, WARNING, "CreateENIFailed", text)
    await recorder.flush()

    (event,) = (await client.list(EVENTS, namespace="default")).items
    assert event.count == 3
    assert "(RequestId 2-AB)" in event.message


async def test_an_event_that_cannot_be_sent_fails_nothing(client, server):
    server.fail(Fault(effect=Effect.REFUSE, times=2))
    failures: list[Exception] = []
    recorder = EventRecorder(
        client, component="terwayd", host="n1", clock=lambda: START, on_error=failures.append
    )

    recorder.record(pod_reference("default", "a"), NORMAL, "AllocIPSucceed", "first")
    recorder.record(pod_reference("default", "a"), NORMAL, "AllocIPSucceed", "second")
    await recorder.flush()

    assert len(failures) == 2


async def test_a_lease_has_one_holder_until_it_is_stale(client):
    async def renew(holder: str, now: float) -> bool:
        return await renew_lease(
            client, "leader", namespace="default", holder=holder, duration_s=15, now=now
        )

    answers = [
        await renew("first", START),
        await renew("second", START + 1),
        await renew("first", START + 10),
        await renew("second", START + 20),
        await renew("second", START + 26),
        await renew("first", START + 27),
    ]

    assert answers == [True, False, True, False, True, False]
    lease = await client.get(LEASES, "leader", namespace="default")
    assert lease is not None
    assert (lease.spec.holder_identity, lease.spec.lease_transitions) == ("second", 1)


async def test_an_informer_waits_for_a_right_that_it_had_and_ends_for_one_that_it_never_had(
    client, server
):
    heard: asyncio.Queue[Exception] = asyncio.Queue()
    server.state.create(_row(PODS), pod_manifest("a"))
    refusal = Fault(effect=Effect.REFUSE, code=403, verbs=("watch",))
    server.fail(refusal)
    informer = Informer(client, PODS, backoff=Backoff(Random(1)), on_error=heard.put_nowait)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(informer.run())
        assert "403" in str(await heard.get())
        server.state.create(_row(PODS), pod_manifest("b"))
        with informer.subscribe() as changes:
            names = {(await anext(changes)).key.name, (await anext(changes)).key.name}
        running.cancel()

    assert names == {"a", "b"}
    server.fail(replace(refusal, verbs=("list",)))
    with pytest.raises(UsageError, match="403"):
        await Informer(client, PODS, backoff=Backoff(Random(1))).run()


async def test_a_server_that_is_away_is_told_in_words_and_not_in_objects_of_a_library():
    connection = Connection(server="https://127.0.0.1:9")
    async with KubeClient(connection) as nobody:
        with pytest.raises(TransientError) as caught:
            await nobody.get(PODS, "a", namespace="default")

    where = "GET /api/v1/namespaces/default/pods/a at https://127.0.0.1:9"
    assert str(caught.value) == f"{where}: Connection refused"


async def test_a_watch_that_is_cut_as_soon_as_it_began_is_opened_again_after_a_wait(client, server):
    waits: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(delay_s: float) -> None:
        waits.put_nowait(delay_s)

    server.fail(Fault(effect=Effect.CUT_WATCH, verbs=("watch",), events=0, times=5))
    informer = Informer(client, PODS, backoff=Backoff(Random(1)), sleep=sleep)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(informer.run())
        waited = [await waits.get() for _ in range(5)]
        running.cancel()

    assert waited == sorted(waited)
    assert waited[-1] > 4 * waited[0]
