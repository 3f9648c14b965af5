"""The roles of deploy/rbac.yaml are enough for the whole process, and name what they are for."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from terway.controlplane.install import read_definitions
from terway.controlplane.options import parse_options
from terway.controlplane.process import run
from terway.kube.client import KubeClient
from terway.kube.crds import POD_NETWORKINGS, PodNetworking, PodNetworkingSpec
from terway.kube.resource import NODES
from terway.kube.types import Node, NodeSpec, ObjectMeta
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
)
from terway.lab.kubeapi.state import ClusterState
from terway.lab.world.accounts import issue_kubeconfig
from terway.model.errors import VpcError
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server

MANIFESTS = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
USER = "system:serviceaccount:kube-system:terway-controlplane"
KINDS = {
    "ServiceAccount": SERVICE_ACCOUNT,
    "ClusterRole": CLUSTER_ROLE,
    "ClusterRoleBinding": CLUSTER_ROLE_BINDING,
    "Role": ROLE,
    "RoleBinding": ROLE_BINDING,
}
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFESTS.read_text()))


def apply_roles(state: ClusterState) -> None:
    for one in DOCUMENTS:
        body = {name: value for name, value in one.items() if name not in ("apiVersion", "kind")}
        state.create(KINDS[one["kind"]], body)


@pytest.mark.parametrize("role", ["terway", "terway-controlplane"])
def test_no_role_has_everything_of_anything(role):
    rules = [
        rule
        for one in DOCUMENTS
        if one["kind"] in ("Role", "ClusterRole") and one["metadata"]["name"] == role
        for rule in one["rules"]
    ]

    assert rules
    said = [word for rule in rules for name in rule for word in rule[name]]
    assert "*" not in said
    reading = {"get", "list", "watch", "update"}
    for rule in rules:
        if "secrets" in rule["resources"] and not reading.isdisjoint(rule["verbs"]):
            assert rule["resourceNames"], "secrets are read by name only"


def test_every_rule_says_why():
    text = MANIFESTS.read_text().splitlines()
    rules = [index for index, line in enumerate(text) if line.startswith("  - apiGroups")]
    unexplained = [
        text[index + 1]
        for index in rules
        # The second half of a pair is explained by the first.
        if not text[index - 1].startswith("  #") and not text[index - 1].startswith("    verbs")
    ]
    assert unexplained == []


def test_every_resource_of_ours_can_be_installed_by_name():
    names = {one["metadata"]["name"] for one in read_definitions()}
    listed = {
        name
        for one in DOCUMENTS
        for rule in one.get("rules", ())
        if "customresourcedefinitions" in rule["resources"]
        for name in rule.get("resourceNames", ())
    }
    assert names == listed


async def test_the_process_asks_for_nothing_that_its_role_does_not_allow(tmp_path):
    state = make_cluster()
    apply_roles(state)
    async with open_kube_server(state, tmp_path) as server, KubeClient(server.unix) as admin:
        base = server.kubeconfig.read_text()
        path = tmp_path / "controlplane.kubeconfig"
        path.write_text(await issue_kubeconfig(admin, base, service_account="terway-controlplane"))
        spec = NodeSpec(provider_id="cn-lab.i-1")
        await admin.create(NODES, Node(metadata=ObjectMeta(name="n9"), spec=spec))
        async with asyncio.TaskGroup() as tasks:
            stop = asyncio.Event()
            tasks.create_task(run(options(tmp_path, path), stop))
            await working(admin)
            stop.set()
        audit = state.authorizer.audit

        assert audit.refused(USER) == {}
        asked = {(verb, what) for verb, _, what in audit.allowed(USER)}
        assert {("create", "leases"), ("create", "secrets"), ("watch", "pods")} <= asked


FOLLOWED = [
    one
    for document in DOCUMENTS
    if document["metadata"]["name"] == "terway-controlplane"
    for rule in document.get("rules", ())
    if {"list", "watch"} <= set(rule["verbs"])
    for one in rule["resources"]
]


async def test_a_right_to_follow_that_is_missing_is_named_and_waited_for_and_ends_nothing(
    tmp_path, capsys
):
    state = make_cluster()
    apply_roles(state)
    async with open_kube_server(state, tmp_path) as server, KubeClient(server.unix) as admin:
        base = server.kubeconfig.read_text()
        path = tmp_path / "controlplane.kubeconfig"
        path.write_text(await issue_kubeconfig(admin, base, service_account="terway-controlplane"))
        for verb in ("list", "watch"):
            server.fail(
                *(
                    Fault(effect=Effect.REFUSE, code=403, verbs=(verb,), resources=(one,))
                    for one in FOLLOWED
                )
            )
        async with asyncio.TaskGroup() as tasks:
            stop = asyncio.Event()
            tasks.create_task(run(options(tmp_path, path), stop))
            await working(admin)
            stop.set()

    said = capsys.readouterr().out
    assert {one for one in FOLLOWED if f"collection={one}" in said} == set(FOLLOWED)


async def working(admin: KubeClient) -> None:
    """Wait until a PodNetworking was looked at, which is after everything was listed."""
    spec = PodNetworkingSpec(vswitch_options=("vsw-1",), security_group_ids=("sg-1",))
    networking = PodNetworking(metadata=ObjectMeta(name="db"), spec=spec)
    found: PodNetworking | None = None
    while found is None or not found.status.status:
        with suppress(VpcError):  # it is not served yet, or there already
            await admin.create(POD_NETWORKINGS, networking)
        with suppress(VpcError):
            found = await admin.get(POD_NETWORKINGS, "db")
        await asyncio.sleep(0.02)


def options(folder: Path, kubeconfig: Path) -> Any:
    said = {
        "regionID": "cn-lab",
        "clusterID": "c1",
        "vpcID": "vpc-1",
        "leaderElection": True,
        "centralizedIPAM": True,
        "controllers": ["*"],
        "healthzBindAddress": "0",
        "webhookPort": 15443,
        "webhookURL": "https://127.0.0.1:15443",
    }
    path = folder / "rbac.yaml"
    path.write_text(json.dumps(said))
    argv = ("--config", str(path), "--credential", str(folder / "key.yaml"))
    (folder / "key.yaml").write_text("accessKey: a\naccessSecret: b")
    nowhere = "http://127.0.0.1:9"  # the cloud is away: it is not what is asked about here
    environ = {
        "KUBECONFIG": str(kubeconfig),
        "ECS_ENDPOINT": nowhere,
        "VPC_ENDPOINT": nowhere,
        "SLB_ENDPOINT": nowhere,
        "NLB_ENDPOINT": nowhere,
    }
    return parse_options(argv, environ)
