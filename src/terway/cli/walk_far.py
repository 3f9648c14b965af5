"""What can be said, from here, of the other end? By Kubernetes and the cloud, and what remains.

The other node's kernel and journal are only read there: the last hop says what was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.hops import Ground, Hop, Packet, fail, ok, unknown
from terway.cli.snapshot import KubeNode, KubePod, KubeView
from terway.model.ids import InstanceId

_ENDED = ("Succeeded", "Failed")


def far_end(ground: Ground, packet: Packet) -> Iterator[Hop]:
    """Yield the pod, or the node, that has the destination; nothing where nobody has it."""
    kube = ground.snapshot.kubernetes
    if kube is None:
        if packet.destination in (ground.cloud.asked if ground.cloud else ()):
            why = ground.snapshot.why_missing("kubernetes")
            yield unknown("Kubernetes", "whose address", f"it could not be asked: {why}")
        return
    pod = next((one for one in kube.pods if _has(one, packet)), None)
    if pod is not None:
        yield from _pod(ground, packet, pod)
        return
    node = next((one for one in kube.nodes if packet.destination in one.addresses), None)
    if node is not None and node.name != ground.snapshot.node_name:
        yield from _node(ground, packet, node)
        yield unknown(
            node.name, "not looked at", "its own firewall, and whether a program listens there"
        )
    elif node is None:
        yield from _somebody(ground, packet, kube)


def _somebody(ground: Ground, packet: Packet, kube: KubeView) -> Iterator[Hop]:
    """Yield the node whose ENI has an address that Kubernetes says of nobody."""
    eni = ground.eni(packet.destination)
    if eni is None or eni.instance_id is None:
        return
    node = next((one for one in kube.nodes if _instance_of(one) == eni.instance_id), None)
    if node is None or node.name == ground.snapshot.node_name:
        return
    yield from _node(ground, packet, node)
    text = (
        "of a further interface of a pod there, or free: Kubernetes says of nobody that it is his"
    )
    yield unknown(node.name, "pod", f"{text}; there: terway-cli mapping")


def _has(pod: KubePod, packet: Packet) -> bool:
    is_over = pod.phase in _ENDED
    has_it = packet.destination in (*pod.addresses, *pod.more_addresses)
    return has_it and not pod.is_host_network and not is_over


def _pod(ground: Ground, packet: Packet, pod: KubePod) -> Iterator[Hop]:
    look = f"kubectl -n {pod.namespace} describe pod {pod.name}"
    if pod.node == ground.snapshot.node_name:
        text = f"Kubernetes says pod {pod} is here, the journal does not know it"
        remedy = f"kubectl -n {pod.namespace} delete pod {pod.name}"
        yield fail("node", "attachment", text, remedy)
        return
    if pod.phase != "Running":
        yield fail(pod.node, "pod", f"pod {pod} is {pod.phase}, not Running", look)
        return
    kube = ground.snapshot.kubernetes
    node = next((one for one in kube.nodes if one.name == pod.node), None) if kube else None
    if node is not None:
        yield from _node(ground, packet, node)
    yield ok(pod.node, "pod", f"pod {pod} is Running")
    rest = "the pod's link, rules, routes and guard on its node, and whether a program listens"
    there = f"terway-cli why {pod} {packet.source}, on {pod.node}"
    yield unknown(pod.node, "not looked at", f"{rest}; there: {there}")


def _node(ground: Ground, packet: Packet, node: KubeNode) -> Iterator[Hop]:
    """Yield whether the address is on an ENI of the node's own instance, and the node is Ready."""
    instance = _instance_of(node)
    eni = ground.eni(packet.destination)
    if eni is not None and instance and eni.instance_id not in (None, instance):
        text = f"{packet.destination} is on {eni.id} of {eni.instance_id}; the node is {instance}"
        remedy = f"terway-cli mapping, on {node.name}: it names whose address it is"
        yield fail(node.name, "instance", text, remedy)
        return
    if eni is not None and instance:
        yield ok(node.name, "instance", f"{eni.id} is one of its instance {instance}")
    if node.is_ready:
        yield ok(node.name, "node", "it is Ready")
        return
    reason = "; ".join(node.conditions) or "no condition says why"
    text = f"it is not Ready, and may not forward: {reason}"
    yield unknown(node.name, "node", f"{text}; kubectl describe node {node.name}")


def _instance_of(node: KubeNode) -> InstanceId:
    """Return the instance in a provider id, "REGION.INSTANCE"."""
    return InstanceId(node.provider_id.rpartition(".")[2])
