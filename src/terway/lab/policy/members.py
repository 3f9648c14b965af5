"""How do the pods of cases come to be members of their node's trunk? A PodNetworking selects them.

It selects by namespace, by the one label that every namespace has: labels of pods are what policy
looks at, and change while a pod runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.crds import POD_NETWORKINGS
from terway.kube.resource import NODES, ObjectKey
from terway.kube.types import Node
from terway.lab.policy.manifests import MARK
from terway.lab.world.waiting import PATIENCE_S, wait_until
from terway.model.errors import ConflictError, UsageError

NAME = "case-members"
MEMBER_RESOURCE = "aliyun/member-eni"
_RAW = POD_NETWORKINGS.typed(dict[str, Any])
_EVERY_NAMESPACE = {"key": "kubernetes.io/metadata.name", "operator": "Exists"}
_MANIFEST: Mapping[str, Any] = {
    "metadata": {"name": NAME, "annotations": {MARK: "true"}},
    "spec": {
        "eniOptions": {"eniType": "Trunk"},
        "selector": {"namespaceSelector": {"matchExpressions": [_EVERY_NAMESPACE]}},
    },
}


async def select_members(kube: KubeClient) -> None:
    """Have all pods that are made from now on be members; idempotent.

    Raises UsageError in a lab without control plane, TransientError when it is not Ready.
    """
    try:
        if await kube.get(_RAW, NAME) is None:
            await kube.create(_RAW, _MANIFEST)
    except ConflictError as error:  # the server does not have the kind
        text = "the lab has no control plane; bring one up with --control-plane, or take another"
        raise UsageError(f"{text} by --name", field="--mode") from error
    await wait_until(kube, POD_NETWORKINGS, _trouble, timeout_s=PATIENCE_S)


async def select_nobody(kube: KubeClient) -> None:
    """Have pods be as they were before `select_members`; idempotent."""
    await kube.delete(_RAW, NAME)


def _trouble(found: Mapping[ObjectKey, Any]) -> str:
    mine = found.get(ObjectKey(namespace="", name=NAME))
    if mine is None:
        return f"PodNetworking {NAME} is not there"
    status = mine.status
    return "" if status.status == "Ready" else f"PodNetworking {NAME}: {status.message}"


async def wait_for_trunks(kube: KubeClient, nodes: Iterable[str]) -> dict[str, int]:
    """Return how many pods of each node can be members, once its kubelet says that.

    Raises TransientError with the node that has no trunk.
    """
    names = tuple(nodes)

    def trouble(found: Mapping[ObjectKey, Node]) -> str:
        held = {key.name: members_at_most(one) for key, one in found.items()}
        bare = [name for name in names if not held.get(name)]
        return f"no {MEMBER_RESOURCE} at {', '.join(bare)}" if bare else ""

    found = await wait_until(kube, NODES, trouble, timeout_s=PATIENCE_S)
    return {name: members_at_most(found[ObjectKey(namespace="", name=name)]) for name in names}


def members_at_most(node: Node) -> int:
    """Return how many pods of a node can be members: what its kubelet was told of."""
    return int(node.status.allocatable.get(MEMBER_RESOURCE, "0"))
