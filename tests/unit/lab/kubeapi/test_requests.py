"""What a path and method ask for, who may, and what is planned to go wrong."""

from __future__ import annotations

import asyncio

import pytest

from terway.lab.kubeapi.access import ADMIN, Access
from terway.lab.kubeapi.documents import find_document
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.faults import Effect, Fault, FaultPlan
from terway.lab.kubeapi.kubeconfig import write_kubeconfig
from terway.lab.kubeapi.logs import LogOptions, NoLogs, choose_container, find_log, read_log
from terway.lab.kubeapi.manifests import apply_manifests, bootstrap
from terway.lab.kubeapi.negotiation import choose_form, decode_body
from terway.lab.kubeapi.openapi import v2_protobuf
from terway.lab.kubeapi.requests import parse_request
from terway.lab.kubeapi.resources import CONFIG_MAP, ResourceTable
from tests.support.cluster import make_cluster, pod_manifest

TABLE = ResourceTable()


@pytest.mark.parametrize(
    ("method", "path", "query", "asked"),
    [
        ("GET", "/api/v1/pods", {}, ("list", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/ns/pods", {}, ("list", "pods", "ns", "", "")),
        ("GET", "/api/v1/pods", {"watch": "true"}, ("watch", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/ns/pods/a", {}, ("get", "pods", "ns", "a", "")),
        ("GET", "/api/v1/namespaces/ns/pods/a/log", {}, ("get", "pods", "ns", "a", "log")),
        ("GET", "/api/v1/namespaces/ns", {}, ("get", "namespaces", "", "ns", "")),
        (
            "PUT",
            "/api/v1/namespaces/ns/finalize",
            {},
            ("update", "namespaces", "", "ns", "finalize"),
        ),
        (
            "POST",
            "/api/v1/namespaces/ns/pods/a/binding",
            {},
            ("create", "pods", "ns", "a", "binding"),
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/ns/deployments/d/scale",
            {},
            ("patch", "deployments", "ns", "d", "scale"),
        ),
        ("DELETE", "/api/v1/namespaces/ns/pods", {}, ("deletecollection", "pods", "ns", "", "")),
    ],
)
def test_a_path_is_read_as_kubernetes_reads_it(method, path, query, asked):
    request = parse_request(method, path, query, TABLE)

    found = (request.verb, request.resource.plural, request.namespace, request.name)
    assert (*found, request.subresource) == asked


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/unheard", 404),
        ("GET", "/apis/apps/v2/deployments", 404),
        ("GET", "/nonsense", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("GET", "/api/v1/namespaces/ns/nodes", 404),
        ("GET", "/api/v1/namespaces/ns/configmaps/c/status", 404),
        ("POST", "/api/v1/namespaces/ns/pods/a", 405),
        ("PUT", "/api/v1/namespaces/ns/pods", 405),
    ],
)
def test_what_is_not_there_is_refused(method, path, code):
    with pytest.raises(ApiError) as caught:
        parse_request(method, path, {}, TABLE)

    assert caught.value.code == code


def asked_for(verb="list", plural="pods"):
    methods = {"list": "GET", "create": "POST"}
    return parse_request(methods[verb], f"/api/v1/namespaces/ns/{plural}", {}, TABLE)


def test_a_token_says_who_it_is_and_a_stranger_is_refused():
    access = Access(tokens={"t": ADMIN})

    assert access.identify("Bearer t") is ADMIN
    for header in ("", "Bearer x", "Basic t"):
        with pytest.raises(ApiError) as caught:
            access.identify(header)
        assert caught.value.code == 401


def test_a_wrong_token_is_not_anonymous():
    access = Access(anonymous=ADMIN)

    assert access.identify("") is ADMIN
    with pytest.raises(ApiError):
        access.identify("Bearer x")


def test_a_fault_strikes_as_often_as_planned_and_whom_it_is_meant_for():
    fault = Fault(effect=Effect.REFUSE, verbs=("list",), resources=("pods",), times=2, skip=1)
    plan = FaultPlan((fault,))

    hits = [bool(plan.take(asked_for())) for _ in range(5)]

    assert hits == [False, True, True, False, False]
    assert plan.take(asked_for(plural="secrets")) == ()


def test_faults_come_in_the_order_they_were_planned():
    plan = FaultPlan()
    plan.add(Fault(effect=Effect.DELAY), Fault(effect=Effect.REFUSE))

    assert [fault.effect for fault in plan.take(asked_for())] == [Effect.DELAY, Effect.REFUSE]
    assert plan.pending == ()


@pytest.mark.parametrize(
    ("accept", "field", "value"),
    [
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "table_version", "v1"),
        ("application/vnd.kubernetes.protobuf,application/json", "table_version", ""),
        ("*/*", "table_version", ""),
        (
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            "discovery_version",
            "v2",
        ),
        ("application/json;as=Cake, application/json", "table_version", ""),
    ],
)
def test_the_first_form_that_we_have_is_chosen(accept, field, value):
    assert getattr(choose_form(accept), field) == value


def test_a_form_that_we_do_not_have_is_refused():
    with pytest.raises(ApiError) as caught:
        choose_form("application/xml")

    assert caught.value.code == 406


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a":1}', "application/json"),
        (b"a: 1", "application/yaml"),
        (b"a: 1", "application/apply-patch+yaml"),
        (b'{"a":1}', "application/merge-patch+json; charset=utf-8"),
    ],
)
def test_bodies_come_as_json_or_yaml(body, content_type):
    assert decode_body(body, content_type) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", 400),
        (b"a: [", "application/yaml", 400),
        (b"<a/>", "application/xml", 415),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body, content_type, code):
    with pytest.raises(ApiError) as caught:
        decode_body(body, content_type)

    assert caught.value.code == code


def test_discovery_names_each_kind_in_both_forms():
    legacy = find_document(TABLE, "/apis/apps/v1", "application/json")
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = find_document(TABLE, "/apis", accept)
    assert legacy is not None
    assert aggregated is not None

    names = {one["name"] for one in legacy["resources"] if "/" not in one["name"]}
    apps = next(one for one in aggregated["items"] if one["metadata"]["name"] == "apps")
    assert {one["resource"] for one in apps["versions"][0]["resources"]} == names
    assert {"deployments", "replicasets", "daemonsets"} <= names


def test_the_openapi_documents_know_each_kind():
    index = find_document(TABLE, "/openapi/v3", "")
    apps = find_document(TABLE, "/openapi/v3/apis/apps/v1", "")
    assert index is not None
    assert apps is not None

    assert set(index["paths"]) >= {"api/v1", "apis/apps/v1"}
    template = apps["components"]["schemas"]["DeploymentSpec"]["properties"]["template"]
    assert template == {"$ref": "#/components/schemas/PodTemplateSpec"}
    assert b"/apis/apps/v1/namespaces/{namespace}/deployments/{name}" in v2_protobuf(TABLE)


MANIFESTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {a: "1"}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: d, namespace: kube-system}}
---
"""


def test_manifests_are_applied_again_and_again():
    state = make_cluster()

    apply_manifests(state, MANIFESTS)
    before = state.store.revision
    applied = apply_manifests(state, MANIFESTS)
    apply_manifests(state, MANIFESTS.replace('"1"', '"2"'))

    assert [obj["metadata"]["namespace"] for obj in applied] == ["default", "kube-system"]
    assert state.store.revision == before + 1
    assert state.get(CONFIG_MAP, "c", "default").object["data"] == {"a": "2"}


def test_a_manifest_of_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ApiError, match='no matches for kind "Cake" in version "bakery/v1"'):
        apply_manifests(make_cluster(), "{apiVersion: bakery/v1, kind: Cake}")


def test_a_cluster_is_begun_once():
    state = make_cluster()
    before = state.store.revision

    bootstrap(state)

    assert state.store.revision == before


def test_a_kubeconfig_is_for_its_owner_only(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text("old")

    write_kubeconfig(path, server="http://127.0.0.1:1")

    assert path.stat().st_mode & 0o777 == 0o600


def two_containers():
    pod = pod_manifest()
    pod["spec"]["containers"].append({"name": "d", "image": "x"})
    return pod


def test_the_log_of_one_of_several_containers_must_be_named():
    with pytest.raises(ApiError, match=r"choose one of: \[c d\]"):
        choose_container(two_containers(), "")

    assert choose_container(two_containers(), "d") == "d"


def test_a_pod_without_a_log_says_what_it_waits_for():
    pod = {**pod_manifest(), "spec": {**pod_manifest()["spec"], "nodeName": "n1"}}

    with pytest.raises(ApiError, match='container "c" in pod "a" is waiting to start'):
        find_log(NoLogs(), pod, LogOptions())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (LogOptions(), b"1\n2\n3\n"),
        (LogOptions(tail_lines=2), b"2\n3\n"),
        (LogOptions(tail_lines=0), b""),
        (LogOptions(tail_lines=9), b"1\n2\n3\n"),
        (LogOptions(limit_bytes=3), b"1\n2"),
    ],
)
def test_a_part_of_a_log_can_be_asked_for(tmp_path, options, text):
    path = tmp_path / "log"
    path.write_text("1\n2\n3\n")

    async def read() -> bytes:
        return b"".join([chunk async for chunk in read_log(path, options, is_over=lambda: True)])

    assert asyncio.run(read()) == text
