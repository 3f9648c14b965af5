"""The roles of deploy/rbac.yaml are enough for agent and control plane in a lab, and no more.

What a role allows and nobody asked for in this lab is listed here, by the occasion that it is
for: a rule that is added without need shows.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from terway.kube.crds import POD_NETWORKINGS, POOL_NODES, PodNetworking
from terway.kube.types import ObjectMeta
from terway.lab.kubeapi.rbac.grants import rules_of_role
from terway.lab.world.lab import Lab, open_lab

pytestmark = [pytest.mark.lab]

MANIFESTS = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
AGENT = "system:serviceaccount:kube-system:terway"
CONTROL_PLANE = "system:serviceaccount:kube-system:terway-controlplane"

# What this lab has no occasion for, by the occasion.
AGENT_ELSEWHERE = {
    "delete policynodestatuses",  # policies are switched off
    "get configmaps",  # a node with a configuration of its own
    "get pods",  # an ADD that is faster than the watch
    "patch events",  # the same event again
    *(f"{verb} podenis" for verb in ("get", "list", "watch")),  # a pod with a PodENI
    *(f"{verb} {what}" for verb in ("list", "watch") for what in ("services", "endpointslices")),
}
_FIRST_START = {
    *(f"{verb} customresourcedefinitions" for verb in ("create", "update")),
    *(f"create {kind}webhookconfigurations" for kind in ("mutating", "validating")),
    *(f"update {kind}webhookconfigurations" for kind in ("mutating", "validating")),
    "create leases",
    "create secrets",
    "update secrets",
}
_POD_ENIS = {
    f"{verb} {what}"
    for verb in ("get", "create", "patch", "delete")
    for what in ("podenis", "networkinterfaces")
} | {"patch podenis/status", "patch networkinterfaces/status", "get pods", "patch pods"}
_NODES_THAT_GO = {"delete nodes", "delete noderuntimes", "get nodes", "patch nodes"}
_BALANCERS = {"patch pods/status", "patch services", "patch services/status"}
CONTROL_PLANE_ELSEWHERE = {
    *(_FIRST_START | _POD_ENIS | _NODES_THAT_GO | _BALANCERS),
    "patch events",
}


def unused(lab: Lab, user: str, name: str) -> set[str]:
    """Return what the roles of that name allow and nobody asked for, as "verb resource"."""
    assert lab.services.cluster is not None
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFESTS.read_text()))
    rules = [
        rule
        for one in documents
        if one["kind"] in ("Role", "ClusterRole") and one["metadata"]["name"] == name
        for rule in rules_of_role(one)
    ]
    parts = lab.services.cluster.authorizer.audit.unused(user, rules)
    return {f"{part.verbs[0]} {part.resources[0]}" for part in parts}


async def test_the_roles_are_enough_for_pods_of_pools_and_of_networks_of_their_own():
    name = f"t{uuid.uuid4().hex[:8]}"
    trunk = {"enable_eni_trunking": True}
    async with open_lab(name=name, nodes=0, control_plane=True, eni_conf=trunk) as lab:
        assert lab.services.cluster is not None
        await lab.add_node("node-1")
        await lab.wait_ready("node-1")
        await lab.kube.create(POD_NETWORKINGS, PodNetworking(metadata=ObjectMeta(name="net")))
        found = await lab.kube.get(POD_NETWORKINGS, "net")
        while found is not None and not found.status.status:
            await asyncio.sleep(0.05)
            found = await lab.kube.get(POD_NETWORKINGS, "net")

        pod = await lab.pod("a", node="node-1")
        assert pod.name == "a"
        assert await lab.kube.get(POOL_NODES, "node-1") is not None

        audit = lab.services.cluster.authorizer.audit
        assert audit.refused(AGENT) == {}
        assert audit.refused(CONTROL_PLANE) == {}
        assert unused(lab, AGENT, "terway") <= AGENT_ELSEWHERE
        assert unused(lab, CONTROL_PLANE, "terway-controlplane") <= CONTROL_PLANE_ELSEWHERE
