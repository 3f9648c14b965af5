"""kubectl on Services and their slices: what people see and type."""

from __future__ import annotations

import json

import pytest

from tests.support.kubectl import Kubectl
from tests.support.live_cluster import open_live_cluster

pytestmark = pytest.mark.witness

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: c
        image: busybox
        ports: [{name: http, containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
"""


@pytest.fixture
async def kubectl(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        yield Kubectl(tmp_path, server.kubeconfig)


async def ready(kubectl: Kubectl) -> None:
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    where = "jsonpath={.items[?(@.endpoints[1].conditions.ready==true)].metadata.name}"
    while not await kubectl("get", "endpointslices", "-o", where):
        pass  # each question waits for its answer


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_get_shows_services_and_slices_in_the_usual_columns(kubectl):
    await kubectl.apply(WEB)
    await ready(kubectl)

    services = rows(await kubectl("get", "svc", "web"))
    slices = rows(await kubectl("get", "endpointslices"))

    assert services[0] == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert [services[1][at] for at in (0, 1, 3, 4)] == ["web", "NodePort", "<none>", "80:30080/TCP"]
    assert slices[0] == ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]
    mine = next(row for row in slices if row[0].startswith("web-"))
    assert mine[1:4] == ["IPv4", "8080", "192.168.32.9,192.168.32.9"]


async def test_applying_a_service_again_changes_nothing(kubectl):
    await kubectl.apply(WEB)

    assert (await kubectl.apply(WEB)).splitlines()[1] == "service/web unchanged"


async def test_server_side_apply_keeps_what_the_server_gave(kubectl):
    bare = WEB.replace(", nodePort: 30080", "")
    await kubectl("apply", "--server-side", "-f", "-", stdin=bare)
    before = json.loads(await kubectl("get", "svc", "web", "-o", "json"))

    await kubectl("apply", "--server-side", "-f", "-", stdin=bare)
    after = json.loads(await kubectl("get", "svc", "web", "-o", "json"))

    assert after["spec"] == before["spec"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("create", "service", "clusterip", "x", "--tcp=80:8080"), "ClusterIP"),
        (("create", "service", "clusterip", "x", "--clusterip=None"), "ClusterIP"),
        (("create", "service", "nodeport", "x", "--tcp=80", "--node-port=30100"), "NodePort"),
        (("create", "service", "loadbalancer", "x", "--tcp=80"), "LoadBalancer"),
        (("create", "service", "externalname", "x", "--external-name=example.com"), "ExternalName"),
    ],
)
async def test_services_of_each_type_can_be_created(kubectl, words, kind):
    await kubectl(*words)

    assert await kubectl("get", "svc", "x", "-o", "jsonpath={.spec.type}") == kind


async def test_a_deployment_can_be_exposed_and_its_service_patched_and_edited(kubectl):
    await kubectl.apply(WEB.partition("---")[0])
    await kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort")
    port = await kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")

    patch = '{"spec":{"sessionAffinity":"ClientIP"}}'
    await kubectl("patch", "svc", "web", "-p", patch)

    held = json.loads(await kubectl("get", "svc", "web", "-o", "json"))["spec"]
    assert held["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == 10800
    assert str(held["ports"][0]["nodePort"]) == port


async def test_a_refusal_is_shown_as_the_api_says_it(kubectl):
    await kubectl.apply(WEB)

    answer = await kubectl.run(
        "create", "service", "nodeport", "other", "--tcp=80", "--node-port=30080"
    )

    assert answer.code == 1
    assert "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated" in (
        answer.err
    )


async def test_describe_knows_a_service(kubectl):
    await kubectl.apply(WEB)
    await ready(kubectl)

    text = await kubectl("describe", "svc", "web")

    assert "NodePort:                 http  30080/TCP" in text
    assert "Session Affinity:         None" in text
    assert "192.168.32.9:8080" in text
