"""What tests of the lab with IPvlan pods have in common."""

from __future__ import annotations

import pytest

from terway.lab.world.lab import Lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family, IPAddress
from terway.model.ids import ENIId

HERE, FAR = "node-1", "jumbo-1"
PATIENCE_S = 300.0  # one CPU without JIT, on a machine with other work
CNI = {"eniip_virtual_type": "ipvlan", "host_stack_cidrs": ["169.254.20.10/32"]}
MARKS = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])


def eni_of(lab: Lab, pod: PodHandle) -> ENIId:
    """Return the ENI that has a pod's address."""
    enis = lab.cloud.world.state.enis.values()
    return next(eni.id for eni in enis if pod.addresses.v4 in eni.ipv4)


def node_address(lab: Lab, name: str, family: Family) -> IPAddress:
    """Return a node's own address."""
    instance = lab.instances[name]
    found = instance.ipv4 if family is Family.V4 else instance.ipv6
    assert found is not None
    return found
