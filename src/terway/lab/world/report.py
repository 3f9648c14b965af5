"""What is in the lab now? One JSON document, for `terway-lab status` and the demo."""

from __future__ import annotations

from typing import Any

from terway.agent.node_report import MAX_AVAILABLE_IP
from terway.kube.resource import NODES, PODS
from terway.kube.types import Node, Pod
from terway.lab.world.lab import Lab

Json = dict[str, Any]


async def describe(lab: Lab) -> Json:
    """Return the lab's state."""
    nodes = (await lab.kube.list(NODES)).items
    pods = (await lab.kube.list(PODS)).items
    return {
        "name": lab.plan.name,
        "stack": lab.plan.stack.value,
        "instance_type": lab.plan.instance_type,
        "vpc": _vpc(lab),
        "endpoints": {
            "openapi": lab.services.openapi_url,
            "access_key_id": lab.services.access_key_id,
            "access_key_secret": lab.services.access_key_secret,
            "kubeconfig": str(lab.services.kubeconfig_path),
        },
        "nodes": [_node(lab, node, pods) for node in nodes if node.metadata.name in lab.nodes],
        "instances": [
            {"name": name, "instance_id": held.id, "addresses": [str(held.ipv4)]}
            for name, held in lab.instances.items()
            if name not in lab.nodes
        ],
        "enis": _enis(lab),
        "pods": [_pod(pod) for pod in pods],
        "cloud_calls": lab.cloud.calls.counts(),
    }


def _vpc(lab: Lab) -> Json:
    state = lab.cloud.world.state
    vpc = state.vpcs[lab.ground.vpc_id]
    used: dict[str, int] = {}
    for eni in state.enis.values():
        used[eni.vswitch_id] = used.get(eni.vswitch_id, 0) + len(eni.ipv4)
    return {
        "id": vpc.id,
        "cidr": str(vpc.cidr),
        "ipv6_cidr": str(vpc.ipv6_cidr or ""),
        "service_cidrs": [str(one) for one in lab.plan.service_cidrs],
        "balancer_cidrs": [str(one) for one in lab.plan.balancer_cidrs],
        "vswitches": [
            {
                "id": one.id,
                "name": one.name,
                "cidr": str(one.cidr),
                "ipv6_cidr": str(one.ipv6_cidr or ""),
                "ipv4_in_use": used.get(one.id, 0),
            }
            for one in state.vswitches.values()
        ],
    }


def _node(lab: Lab, node: Node, pods: tuple[Pod, ...]) -> Json:
    handle = lab.nodes[node.metadata.name]
    ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
    return {
        "name": handle.name,
        "instance_id": handle.spec.instance_id,
        "addresses": [address.partition("/")[0] for address in handle.spec.addresses],
        "ready": ready is not None and ready.status == "True",
        "message": ready.message if ready is not None else "",
        "pods": sum(pod.spec.node_name == handle.name for pod in pods),
        "max_pods": pods_at_most(node, handle.spec.max_pods),
        "pid": handle.init_pid,
        "agent_pid": handle.agent_pid,
        "agent_starts": handle.agent_starts,
        "logs": handle.spec.log_dir,
    }


def pods_at_most(node: Node, allowed: int) -> int:
    """Return how many pods the node takes: the kubelet allows some, terwayd has addresses for some.

    The lab's kubelet is started with what the type holds in the mode of its labels, before terwayd
    has read eni-config; a real one's maxPods is as little in terwayd's hands.
    """
    said = node.metadata.annotations.get(MAX_AVAILABLE_IP, "")
    return min(allowed, int(said)) if said.isdecimal() else allowed


def _enis(lab: Lab) -> list[Json]:
    names = {instance.id: name for name, instance in lab.instances.items()}
    return [
        {
            "id": eni.id,
            "type": eni.type.value,
            "status": eni.status.value,
            "node": names.get(eni.instance_id, "") if eni.instance_id else "",
            "mac": eni.mac,
            "ipv4": [str(address) for address in eni.ipv4],
            "ipv6": [str(address) for address in eni.ipv6],
            "ipv4_prefixes": [str(prefix) for prefix in eni.ipv4_prefixes],
            "ipv6_prefixes": [str(prefix) for prefix in eni.ipv6_prefixes],
        }
        for eni in lab.cloud.world.state.enis.values()
    ]


def _pod(pod: Pod) -> Json:
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
    return {
        "namespace": pod.metadata.namespace,
        "name": pod.metadata.name,
        "node": pod.spec.node_name,
        "phase": pod.status.phase,
        "ready": ready,
        "host_network": pod.spec.host_network,
        "addresses": [one.ip for one in pod.status.pod_ips],
    }
