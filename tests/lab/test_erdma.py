"""A pod that asks for RDMA has an address of the node's ENI for it, and no other pod has one.

The control plane makes the ENI. RDMA itself is not emulated: packets go by the ENI as by any other.
"""

from __future__ import annotations

import uuid

import pytest

from terway.kube.resource import NODES
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family

pytestmark = pytest.mark.lab

CONF = {"enable_erdma": True, "min_pool_size": 0, "max_pool_size": 0}
ASKS = {"aliyun/erdma": "1"}


def is_fast(lab: Lab, pod: PodHandle) -> bool:
    """Return whether the pod's address is one of an ENI for RDMA."""
    enis = lab.cloud.world.state.enis.values()
    (owner,) = (one for one in enis if pod.address(Family.V4) in one.ipv4)
    assert pod.address(Family.V6) in owner.ipv6
    return owner.is_erdma


async def test_pods_that_ask_for_rdma_have_addresses_of_the_eni_that_has_it():
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=1, erdma=1, control_plane=True, eni_conf=CONF) as lab:
        # Nobody names the node: the scheduler knows how many of such pods fit.
        fast = [await lab.pod(f"fast{number}", limits=ASKS) for number in range(2)]
        plain = await lab.pod("plain")
        node = await lab.kube.get(NODES, "node-1")

        assert [is_fast(lab, pod) for pod in (*fast, plain)] == [True, True, False]
        assert node is not None
        assert node.status.allocatable["aliyun/erdma"] == "15"
        for family in Family:
            seen = await fast[0].tool("whoami", str(plain.address(family)))
            assert seen["peer"] == str(fast[0].address(family))

        # when they are gone, nobody else is given what they had
        for pod in fast:
            await lab.delete_pod(pod.meta.name)
        more = [await lab.pod(f"more{number}") for number in range(3)]
        assert not any(is_fast(lab, pod) for pod in more)
