"""How does a program of the lab come to be a service account? By a kubeconfig with its token."""

from __future__ import annotations

import json

import msgspec

from terway.kube.client import KubeClient
from terway.model.errors import ConflictError

NAMESPACE = "kube-system"
AGENT_ACCOUNT, CONTROL_PLANE_ACCOUNT = "terway", "terway-controlplane"
_LIFETIME_S = 365 * 24 * 3600  # longer than any lab: a file, unlike a volume, is not renewed
_ACCOUNTS = "/api/v1/namespaces/{namespace}/serviceaccounts"


async def has_account(client: KubeClient, name: str, namespace: str = NAMESPACE) -> bool:
    """Say whether there is a service account of that name."""
    path = _ACCOUNTS.format(namespace=namespace)
    try:
        await client.request("GET", f"{path}/{name}")
    except ConflictError as error:
        if error.code != "NotFound":
            raise
        return False
    return True


async def issue_kubeconfig(
    client: KubeClient, base: str, *, service_account: str, namespace: str = NAMESPACE
) -> str:
    """Return the kubeconfig `base` (JSON text) for a service account, which is made if need be.

    What it may do is up to the roles that are bound to it: none at first. Works with any API
    server. UsageError when `client` may not ask for tokens of it, or there is no such namespace.
    """
    path = _ACCOUNTS.format(namespace=namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": service_account}}
    try:
        await client.request("POST", path, content=msgspec.json.encode(account))
    except ConflictError as error:
        if error.code != "AlreadyExists":
            raise
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _LIFETIME_S},
    }
    answer = await client.request(
        "POST", f"{path}/{service_account}/token", content=msgspec.json.encode(request)
    )
    return with_token(base, user=service_account, token=json.loads(answer)["status"]["token"])


def with_token(base: str, *, user: str, token: str) -> str:
    """Return the kubeconfig `base` with one user, who has `token` and nothing else."""
    config = json.loads(base)
    config["users"] = [{"name": user, "user": {"token": token}}]
    for context in config["contexts"]:
        context["context"]["user"] = user
    return json.dumps(config)
