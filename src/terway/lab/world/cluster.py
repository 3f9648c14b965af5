"""How does one wait for nodes and pods, and what is said when they do not come?

A lab that does not do what was asked must say why at once: what a node's terwayd said last, what
the events of a pod are. Nobody should have to run it again to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from terway.kube.client import KubeClient
from terway.kube.resource import EVENTS, NODES, PODS, ObjectKey
from terway.kube.types import Node, Pod
from terway.lab.world.lastwords import node_trouble
from terway.lab.world.node import NodeHandle
from terway.lab.world.waiting import wait_until
from terway.model.errors import TransientError


async def wait_nodes_ready(
    client: KubeClient,
    nodes: Sequence[NodeHandle],
    *,
    timeout_s: float,
    progress: Callable[[str], None],
    registered: bool = False,
) -> None:
    """Wait until all `nodes` are Ready. TransientError says what those said that are not.

    With `registered` it is enough that they are in the API: what makes them Ready is not ours.
    """
    wish = "registered" if registered else "Ready"

    def unready(found: Mapping[ObjectKey, Node]) -> list[NodeHandle]:
        ours = [(node, found.get(_key(node.name))) for node in nodes]
        return [
            node for node, its in ours if not (its is not None if registered else _is_ready(its))
        ]

    def trouble(found: Mapping[ObjectKey, Node]) -> str:
        names = [node.name for node in unready(found)]
        return f"nodes not {wish}: {', '.join(names)}" if names else ""

    try:
        await wait_until(client, NODES, trouble, timeout_s=timeout_s, progress=progress)
    except TransientError as error:
        found = {_key(one.metadata.name): one for one in (await client.list(NODES)).items}
        words = [f"{node.name}: {node_trouble(node.spec.log_dir)}" for node in unready(found)]
        raise TransientError("\n".join([str(error), *words])) from error


async def wait_pod_ready(client: KubeClient, key: ObjectKey, *, timeout_s: float) -> Pod:
    """Return a pod once it is Ready. TransientError tells its state and its events."""

    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        pod = pods.get(key)
        if _is_ready(pod):
            return ""
        return f"pod {key} is {pod.status.phase if pod else 'not there'}, not Ready"

    try:
        pods = await wait_until(client, PODS, trouble, timeout_s=timeout_s, namespace=key.namespace)
    except TransientError as error:
        events = await _events_of(client, key)
        raise TransientError("\n".join([str(error), *events])) from error
    return pods[key]


async def wait_pod_gone(client: KubeClient, key: ObjectKey, *, timeout_s: float) -> None:
    """Wait until nothing of a pod is left."""

    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        return f"pod {key} is still there" if key in pods else ""

    await wait_until(client, PODS, trouble, timeout_s=timeout_s, namespace=key.namespace)


async def _events_of(client: KubeClient, key: ObjectKey) -> list[str]:
    events = (await client.list(EVENTS, namespace=key.namespace)).items
    ours = [one for one in events if one.involved_object.name == key.name]
    return [f"  {one.reason}: {one.message}" for one in ours]


def _is_ready(found: Node | Pod | None) -> bool:
    conditions = found.status.conditions if found is not None else ()
    return any((one.type, one.status) == ("Ready", "True") for one in conditions)


def _key(name: str) -> ObjectKey:
    return ObjectKey(namespace="", name=name)
