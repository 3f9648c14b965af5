"""Who is denied by the data path's policies is told at once, where that is asked for."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.lab import open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.model.address import Family
from tests.support.policy_lab import PolicyLab, end_of
from tests.support.policy_objects import NOBODY, network_policy
from tests.support.wires import Wires

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

POOL = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
PORT = 7460


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[PolicyLab]:
    cni = {"eniip_virtual_type": "datapathv2", "network_policy_denied": "reject"}
    name = f"j{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=2, pools=(POOL,), cni=cni) as lab:
        yield PolicyLab(lab, is_ebpf=True)


async def test_who_may_not_connect_is_refused_at_once(world: PolicyLab):
    """Where a pod sends, shared and with its own ENI; and where one gets, from near and far."""
    places = {"a": "node-1", "near": "node-1", "far": "node-2", "own": "eni-1"}
    pods = {
        name: await world.lab.pod(name, node=node, labels={"app": name})
        for name, node in places.items()
    }
    a, own = {"app": "a"}, {"app": "own"}
    cases = (
        ("a", "far", network_policy("out-of-a", selects=a, egress=NOBODY)),
        ("own", "far", network_policy("out-of-own", selects=own, egress=NOBODY)),
        ("a", "near", network_policy("into-near", selects={"app": "near"}, ingress=NOBODY)),
        ("a", "far", network_policy("into-far", selects={"app": "far"}, ingress=NOBODY)),
    )
    with Wires() as wires:
        for source, target, policy in cases:
            await world.policies(policy)
            for family in Family:
                asking, asked = (end_of(pods[one], family) for one in (source, target))
                with (
                    wires.borrowed(await wires.tcp_listener(asked, PORT)),
                    pytest.raises(ConnectionRefusedError),
                ):
                    await wires.connect(asking, asked, PORT)
