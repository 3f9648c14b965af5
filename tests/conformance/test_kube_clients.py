"""The official Python client, and lightkube, against the lab's API."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest
from kubernetes import client as official
from kubernetes import config, watch
from kubernetes.client.rest import ApiException
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Node, Pod
from lightkube.types import PatchType

from terway.lab.kubeapi.faults import Effect, Fault
from tests.support.cluster import make_cluster, pod_manifest
from tests.support.kube_server import KubeServer, open_kube_server
from tests.support.live_cluster import open_live_cluster

pytestmark = pytest.mark.witness

CONFIG_MAP = {"metadata": {"name": "c", "labels": {"app": "x"}}, "data": {"a": "1"}}


@pytest.fixture
async def server(tmp_path):
    async with open_kube_server(make_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
async def live(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        yield server


@contextmanager
def core_client(server: KubeServer):
    with api_client(server) as api:
        yield official.CoreV1Api(api)


@contextmanager
def api_client(server: KubeServer):
    configuration = official.Configuration()
    config.load_kube_config(str(server.kubeconfig), client_configuration=configuration)
    with official.ApiClient(configuration) as api:
        yield api


async def in_thread(work, server):
    """Run a blocking client's work while the server serves it."""
    return await asyncio.to_thread(work, server)


async def test_official_objects_are_made_changed_and_removed(server):
    def work(server):
        with core_client(server) as core:
            core.create_namespaced_config_map("default", CONFIG_MAP)
            core.patch_namespaced_config_map("c", "default", {"data": {"b": "2"}})
            read = core.read_namespaced_config_map("c", "default")
            read.data["c"] = "3"
            core.replace_namespaced_config_map("c", "default", read)
            listed = core.list_namespaced_config_map("default", label_selector="app=x")
            core.delete_namespaced_config_map("c", "default")
            with pytest.raises(ApiException) as caught:
                core.read_namespaced_config_map("c", "default")
            return listed.items[0].data, caught.value.status

    assert await in_thread(work, server) == ({"a": "1", "b": "2", "c": "3"}, 404)


async def test_official_a_stale_write_is_a_conflict(server):
    def work(server):
        with core_client(server) as core:
            old = core.create_namespaced_config_map("default", CONFIG_MAP)
            core.patch_namespaced_config_map("c", "default", {"data": {"b": "2"}})
            with pytest.raises(ApiException) as caught:
                core.replace_namespaced_config_map("c", "default", old)
            return caught.value.status, caught.value.reason

    assert await in_thread(work, server) == (409, "Conflict")


async def test_official_a_list_goes_page_by_page(server):
    for name in ("a", "b", "c"):
        server.state.create(pod_row(server), pod_manifest(name))

    def work(server):
        with core_client(server) as core:
            first = core.list_pod_for_all_namespaces(limit=2)
            token = first.metadata._continue
            second = core.list_pod_for_all_namespaces(limit=2, _continue=token)
            return [one.metadata.name for one in first.items + second.items]

    assert await in_thread(work, server) == ["a", "b", "c"]


def pod_row(server):
    return server.state.table.of_kind("v1", "Pod")


async def test_official_a_watch_sees_what_others_do_and_resumes(server):
    server.state.create(pod_row(server), pod_manifest("a"))

    def follow(server, version):
        seen = []
        with core_client(server) as core:
            events = watch.Watch()
            for event in events.stream(
                core.list_pod_for_all_namespaces, resource_version=version, timeout_seconds=60
            ):
                seen.append((event["type"], event["object"].metadata.name))
                if event["type"] == "DELETED":
                    events.stop()
        return seen

    version = str(server.state.store.revision)
    server.state.create(pod_row(server), pod_manifest("b"))
    server.state.delete(pod_row(server), "b", "default")
    seen = await asyncio.to_thread(follow, server, version)

    assert seen == [("ADDED", "b"), ("DELETED", "b")]


async def test_official_a_forgotten_revision_is_410(server):
    server.state.store.forget()
    server.state.create(pod_row(server), pod_manifest("a"))

    def work(server):
        with core_client(server) as core, pytest.raises(ApiException) as caught:
            for _ in watch.Watch().stream(
                core.list_pod_for_all_namespaces, resource_version="1", timeout_seconds=60
            ):
                pass
        return caught.value.status

    assert await in_thread(work, server) == 410


async def test_official_a_deployment_comes_up_and_scales(live):
    def work(server):
        with api_client(server) as api:
            apps = official.AppsV1Api(api)
            apps.create_namespaced_deployment("default", official_deployment())
            wait_for(apps, replicas=2)
            scale = {"spec": {"replicas": 3}}
            apps.patch_namespaced_deployment_scale("web", "default", scale)
            wait_for(apps, replicas=3)
            return len(official.CoreV1Api(api).list_namespaced_pod("default").items)

    assert await in_thread(work, live) == 3


def official_deployment():
    labels = {"app": "web"}
    container = official.V1Container(name="c", image="busybox")
    return official.V1Deployment(
        metadata=official.V1ObjectMeta(name="web"),
        spec=official.V1DeploymentSpec(
            replicas=2,
            selector=official.V1LabelSelector(match_labels=labels),
            template=official.V1PodTemplateSpec(
                metadata=official.V1ObjectMeta(labels=labels),
                spec=official.V1PodSpec(containers=[container]),
            ),
        ),
    )


def wait_for(apps, *, replicas: int) -> None:
    events = watch.Watch()
    for event in events.stream(apps.list_namespaced_deployment, "default", timeout_seconds=30):
        if event["object"].status.ready_replicas == replicas:
            events.stop()
            return
    raise AssertionError(f"no {replicas} ready replicas after 30 s")


@contextmanager
def lightkube_client(server: KubeServer):
    client = Client(
        config=KubeConfig.from_file(str(server.kubeconfig)), field_manager="tests", trust_env=False
    )
    try:
        yield client
    finally:
        client._client._client.close()


async def test_lightkube_objects_are_made_changed_and_removed(server):
    def work(server):
        with lightkube_client(server) as client:
            client.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="default")))
            client.patch(ConfigMap, "c", {"data": {"a": "1"}}, namespace="default")
            patch = [{"op": "add", "path": "/data/b", "value": "2"}]
            client.patch(ConfigMap, "c", patch, namespace="default", patch_type=PatchType.JSON)
            data = client.get(ConfigMap, "c", namespace="default").data
            client.delete(ConfigMap, "c", namespace="default")
            with pytest.raises(ApiError) as caught:
                client.get(ConfigMap, "c", namespace="default")
            return data, caught.value.status.reason

    assert await in_thread(work, server) == ({"a": "1", "b": "2"}, "NotFound")


async def test_lightkube_applies_and_meets_conflicts(server):
    def work(server):
        with lightkube_client(server) as client:
            client.apply(lightkube_deployment(replicas=1))
            client.apply(lightkube_deployment(replicas=2))
            with pytest.raises(ApiError) as caught:
                client.apply(lightkube_deployment(replicas=3), field_manager="other")
            client.apply(lightkube_deployment(replicas=4), field_manager="other", force=True)
            held = client.get(Deployment, "web", namespace="default")
            return held.spec.replicas, caught.value.status.code

    assert await in_thread(work, server) == (4, 409)


def lightkube_deployment(*, replicas: int) -> Deployment:
    labels = {"app": "web"}
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=labels),
                spec=PodSpec(containers=[Container(name="c", image="busybox")]),
            ),
        ),
    )


async def test_lightkube_lists_and_watches_through_a_cut(server):
    server.state.create(pod_row(server), pod_manifest("a", app="x"))
    server.state.create(pod_row(server), pod_manifest("b", app="y"))
    server.fail(Fault(effect=Effect.CUT_WATCH, verbs=("watch",), events=1))

    def work(server):
        seen = []
        with lightkube_client(server) as client:
            for operation, pod in client.watch(Pod, namespace="*"):
                seen.append((operation, pod.metadata.name))
                if len(seen) == 2:
                    break
            listed = [
                pod.metadata.name for pod in client.list(Pod, namespace="*", labels={"app": "x"})
            ]
        return sorted(set(seen)), listed

    seen, listed = await in_thread(work, server)

    assert ("ADDED", "a") in seen
    assert listed == ["a"]


async def test_lightkube_reads_nodes_and_writes_their_status(live):
    def work(server):
        with lightkube_client(server) as client:
            condition = {"type": "SufficientIP", "status": "True"}
            client.patch(
                Node.Status,
                "node-1",
                {"status": {"conditions": [condition]}},
                patch_type=PatchType.STRATEGIC,
            )
            node = client.get(Node, "node-1")
            return sorted(one.type for one in node.status.conditions)

    assert await in_thread(work, live) == ["Ready", "SufficientIP"]


async def test_a_service_and_its_slices_have_the_shape_that_the_official_client_reads(live):
    def work(server: KubeServer):
        with api_client(server) as api:
            core, discovery = official.CoreV1Api(api), official.DiscoveryV1Api(api)
            port = official.V1ServicePort(name="http", port=80, target_port="http")
            spec = official.V1ServiceSpec(
                type="LoadBalancer",
                external_traffic_policy="Local",
                selector={"app": "web"},
                ports=[port],
            )
            meta = official.V1ObjectMeta(name="web")
            made = core.create_namespaced_service(
                "default", official.V1Service(metadata=meta, spec=spec)
            )
            for event in watch.Watch().stream(
                discovery.list_namespaced_endpoint_slice,
                "default",
                label_selector="kubernetes.io/service-name=web",
                timeout_seconds=30,
            ):
                return made, event["object"]
            raise AssertionError("no slice came")

    service, held = await in_thread(work, live)

    assert service.spec.health_check_node_port
    assert service.spec.ports[0].node_port
    assert service.spec.ip_families == ["IPv4"]
    assert service.spec.cluster_ips == [service.spec.cluster_ip]
    assert held.address_type == "IPv4"
    assert held.endpoints == []
    assert held.metadata.owner_references[0].uid == service.metadata.uid
