"""Which block of addresses has which node? As kube-controller-manager gives them out.

Source: k8s.io/kubernetes pkg/controller/nodeipam, --allocate-node-cidrs, --node-cidr-mask-size.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from terway.lab.flannel.plan import BLOCK_PREFIX_LENGTH, CLUSTER_NETWORK
from terway.lab.kubeapi.controllers.actions import Action, Patch
from terway.lab.kubeapi.controllers.runner import Controller
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import read_path
from terway.lab.kubeapi.resources import NODE


def plan_blocks(view: View) -> Iterator[Action]:
    """Yield a block for each node that has none; none is ever given twice."""
    taken = {read_path(node, "spec.podCIDR", "") for node in view.nodes}
    free = (block for block in _blocks() if str(block) not in taken)
    for node in view.nodes:
        if not read_path(node, "spec.podCIDR", ""):
            block = str(next(free))
            patch = {"spec": {"podCIDR": block, "podCIDRs": [block]}}
            yield Patch(resource=NODE, object=node, patch=patch)


def _blocks() -> Iterator[IPv4Network]:
    return CLUSTER_NETWORK.subnets(new_prefix=BLOCK_PREFIX_LENGTH)


NODE_IPAM = Controller(
    name="node-ipam", plan=plan_blocks, wants=lambda change: change.resource is NODE
)
