"""A program of the lab that is a service account may do what its roles say, over the wire."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest

from terway.kube.client import KubeClient, PatchType
from terway.kube.connection import read_kubeconfig
from terway.kube.resource import CONFIG_MAPS, NODES, PODS
from terway.lab.kubeapi.resources import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, SERVICE_ACCOUNT
from terway.lab.world.accounts import issue_kubeconfig, with_token
from terway.model.errors import ConflictError, UsageError
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server


def grant(state, *rules):
    """Let kube-system:terway do what the rules say, in the whole cluster."""
    meta = {"name": "terway"}
    state.create(CLUSTER_ROLE, {"metadata": meta, "rules": list(rules)})
    subject = {"kind": "ServiceAccount", "name": "terway", "namespace": "kube-system"}
    reference = {"kind": "ClusterRole", "name": "terway"}
    binding = {"metadata": meta, "roleRef": reference, "subjects": [subject]}
    state.create(CLUSTER_ROLE_BINDING, binding)


def rule(resources, verbs):
    return {"apiGroups": [""], "resources": resources.split(), "verbs": verbs.split()}


@pytest.fixture
def state():
    return make_cluster()


@pytest.fixture
async def open_as_terway(state, tmp_path):
    @asynccontextmanager
    async def open_():
        async with open_kube_server(state, tmp_path) as server:
            async with KubeClient(server.unix) as admin:
                base = server.kubeconfig.read_text()
                text = await issue_kubeconfig(admin, base, service_account="terway")
            path = tmp_path / "terway.kubeconfig"
            path.write_text(text)
            async with KubeClient(read_kubeconfig(path)) as client:
                yield client

    return open_


async def test_an_account_is_made_and_may_nothing_at_first(state, open_as_terway):
    async with open_as_terway() as client:
        with pytest.raises(UsageError, match='User "system:serviceaccount:kube-system:terway"'):
            await client.list(PODS)

    assert state.get(SERVICE_ACCOUNT, "terway", "kube-system")


async def test_an_account_may_what_its_role_says_as_soon_as_it_says_so(state, open_as_terway):
    async with open_as_terway() as client:
        grant(state, rule("pods", "list"))

        assert (await client.list(PODS)).items == ()
        with pytest.raises(UsageError, match='cannot list resource "nodes"'):
            await client.list(NODES)


async def test_an_account_that_is_there_is_used(state, open_as_terway):
    account = {"metadata": {"name": "terway", "namespace": "kube-system"}}
    before = state.create(SERVICE_ACCOUNT, account)

    async with open_as_terway():
        assert state.get(SERVICE_ACCOUNT, "terway", "kube-system") is before


async def test_an_account_without_its_namespace_is_refused(state, tmp_path):
    async with open_kube_server(state, tmp_path) as server, KubeClient(server.unix) as admin:
        with pytest.raises(ConflictError, match='namespaces "lost" not found'):
            await issue_kubeconfig(
                admin, server.kubeconfig.read_text(), service_account="a", namespace="lost"
            )


async def test_an_apply_that_creates_needs_to_be_allowed_both(state, open_as_terway):
    grant(state, rule("configmaps", "patch"))
    applied = {"metadata": {"name": "c"}, "data": {"a": "1"}}

    async def apply(client):
        await client.patch(CONFIG_MAPS, "c", applied, namespace="kube-system", kind=PatchType.APPLY)

    async with open_as_terway() as client:
        with pytest.raises(UsageError, match='cannot create resource "configmaps"'):
            await apply(client)
        state.patch(CLUSTER_ROLE, "terway", "", {"rules": [rule("configmaps", "patch create")]})
        await apply(client)
        state.patch(CLUSTER_ROLE, "terway", "", {"rules": [rule("configmaps", "patch")]})
        await apply(client)


def test_a_kubeconfig_of_an_account_has_nothing_of_the_administrators():
    base = {
        "users": [{"name": "admin", "user": {"client-key-data": "secret", "token": "t"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
    }

    config = json.loads(with_token(json.dumps(base), user="terway", token="own"))

    assert config["users"] == [{"name": "terway", "user": {"token": "own"}}]
    assert config["contexts"][0]["context"]["user"] == "terway"
