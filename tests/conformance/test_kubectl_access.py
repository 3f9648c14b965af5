"""kubectl and the official Python client see who may do what, as with a real API server."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.kubectl import Kubectl
from tests.support.live_cluster import open_live_cluster

pytestmark = pytest.mark.witness

ROBOT = "system:serviceaccount:default:robot"


@pytest.fixture
async def kubectl(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        yield Kubectl(tmp_path, server.kubeconfig)


async def with_reader(kubectl: Kubectl) -> Kubectl:
    """Make a service account that may read pods in its namespace."""
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "role", "reader", "--verb=get,list,watch", "--resource=pods,pods/log")
    await kubectl("create", "rolebinding", "r", "--role=reader", "--serviceaccount=default:robot")
    return kubectl


async def robot(kubectl: Kubectl) -> Kubectl:
    """Return a kubectl that is the service account, by a token of its own."""
    token = (await kubectl("create", "token", "robot")).strip()
    config = json.loads((kubectl.folder / "kubeconfig").read_text())
    config["users"][0]["user"] = {"token": token}
    path = kubectl.folder / "robot.kubeconfig"
    path.write_text(json.dumps(config))
    return Kubectl(kubectl.folder, path)


async def test_can_i_answers_for_oneself_and_for_others(kubectl):
    await with_reader(kubectl)
    own = await robot(kubectl)

    assert await kubectl("auth", "can-i", "*", "*") == "yes\n"
    assert await own("auth", "can-i", "list", "pods") == "yes\n"
    assert (await own.run("auth", "can-i", "delete", "pods")).out == "no\n"
    assert (await own.run("auth", "can-i", "list", "pods", "-n", "kube-system")).out == "no\n"
    assert await kubectl("auth", "can-i", "get", "pods", f"--as={ROBOT}") == "yes\n"
    assert (await kubectl.run("auth", "can-i", "get", "nodes", f"--as={ROBOT}")).out == "no\n"


async def test_can_i_lists_what_one_may(kubectl):
    await with_reader(kubectl)

    listed = await (await robot(kubectl))("auth", "can-i", "--list")

    row = next(line for line in listed.splitlines() if line.startswith("pods "))
    assert row.split()[-3:] == ["[get", "list", "watch]"]


async def test_who_am_i_says_so(kubectl):
    await with_reader(kubectl)

    said = json.loads(await (await robot(kubectl))("auth", "whoami", "-o", "json"))

    info = said["status"]["userInfo"]
    assert info["username"] == ROBOT
    assert "system:serviceaccounts:default" in info["groups"]


async def test_what_is_not_allowed_is_refused_in_the_usual_words(kubectl):
    own = await robot(await with_reader(kubectl))

    await own("get", "pods")
    answer = await own.run("get", "nodes")

    assert answer.code == 1
    assert answer.err == (
        f'Error from server (Forbidden): nodes is forbidden: User "{ROBOT}" cannot list resource '
        '"nodes" in API group "" at the cluster scope\n'
    )


async def test_roles_are_made_described_and_shown(kubectl):
    await with_reader(kubectl)
    await kubectl(
        "create", "clusterrole", "n", "--verb=get", "--resource=nodes", "--resource-name=a"
    )
    await kubectl("create", "clusterrolebinding", "n", "--clusterrole=n", "--group=ops")

    described = await kubectl("describe", "clusterrole", "n")
    rows = (await kubectl("get", "rolebindings", "r")).splitlines()
    role = json.loads(await kubectl("get", "role", "reader", "-o", "json"))

    assert "nodes" in described
    assert rows[1].split()[:2] == ["r", "Role/reader"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]}
    ]
    assert await kubectl("auth", "can-i", "get", "nodes/a", "--as=eve", "--as-group=ops") == "yes\n"


async def test_apply_of_a_role_that_gives_too_much_is_refused(kubectl):
    await with_reader(kubectl)
    await kubectl("create", "clusterrolebinding", "e", "--clusterrole=edit", f"--user={ROBOT}")
    await kubectl("create", "role", "w", "--verb=create,get,patch", "--resource=roles")
    await kubectl("create", "rolebinding", "w", "--role=w", "--serviceaccount=default:robot")
    own = await robot(kubectl)

    answer = await own.run("create", "role", "x", "--verb=get", "--resource=nodes")

    assert answer.code == 1
    assert "is attempting to grant RBAC permissions not currently held" in answer.err
    assert '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}' in answer.err
    await own("create", "role", "y", "--verb=get", "--resource=pods")


async def test_the_python_client_asks_and_is_refused(kubectl):
    own = await robot(await with_reader(kubectl))
    await asyncio.to_thread(_ask_in_python, own.environ["KUBECONFIG"])


def _ask_in_python(kubeconfig: str) -> None:
    from kubernetes import client, config

    with config.new_client_from_config(kubeconfig) as api:
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(
                resource_attributes=client.V1ResourceAttributes(
                    verb="watch", resource="pods", namespace="default"
                )
            )
        )
        answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
        assert answer.status.allowed
        assert 'Role "reader"' in answer.status.reason
        core = client.CoreV1Api(api)
        assert core.list_namespaced_pod("default").items == []
        with pytest.raises(client.ApiException) as caught:
            core.delete_namespaced_pod("a", "default")
        assert caught.value.status == 403
        assert json.loads(caught.value.body)["reason"] == "Forbidden"
