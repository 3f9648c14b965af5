"""Pods of every kind behind the cloud's load balancers, with packets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.model.address import Family
from tests.support.balanced_services import (
    FAR,
    NLB_CLASS,
    Market,
    open_market,
)
from tests.support.cloud_balanced import eventually

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

WHOLE = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
ASKED = {
    "k8s.aliyun.com/pod-networks": json.dumps(
        {"podNetworks": [{"interface": "eth0", "allocationType": {"type": "Elastic"}}]}
    )
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market() -> AsyncIterator[Market]:
    async with open_market(
        nodes=2, pools=(WHOLE,), eni_conf={"enable_eni_trunking": True}
    ) as market:
        yield market


@pytest.mark.parametrize("class_", [None, NLB_CLASS])
async def test_members_of_trunks_whole_enis_and_pooled_addresses_are_backends(
    market: Market, class_: str | None
) -> None:
    name = "kinds-nlb" if class_ else "kinds-clb"
    labels = {"app": name}
    pods = [
        await market.pod(f"{name}-member", "node-1", labels=labels, annotations=ASKED),
        await market.pod(f"{name}-whole", "eni-1", labels=labels),
        await market.pod(f"{name}-pooled", "node-2", labels=labels),
    ]
    await market.service(name, loadBalancerClass=class_)
    address = (await market.addresses(name))[0]

    heard: set[str] = set()

    async def is_each_heard() -> bool:
        if await market.is_answered(address):
            who, seen = await market.ask(address)
            assert seen == FAR
            heard.add(who)
        return heard == {one.name for one in pods}

    await eventually(is_each_heard)
    state = market.lab.cloud.world.state
    owners = {one.id for pod in pods if (one := state.plugged_owner(pod.address(Family.V4)))}
    groups = state.balancing.server_groups if class_ else state.balancing.vserver_groups
    servers = {one.server_id for group in groups.values() for one in group.servers}
    assert len(owners) == 3
    assert owners == servers
    await market.remove(name)
    for pod in pods:
        await market.lab.delete_pod(pod.name)


async def test_pods_of_the_hosts_network_are_backends_by_the_nodes_eni(market: Market) -> None:
    await market.pod("host", "node-1", labels={"app": "host"}, host_network=True)
    await market.service("host")
    (address,) = await market.addresses("host")

    who, seen = await market.answered_by(address, ["node-1"])

    assert (who, seen) == ("node-1", FAR)
    await market.remove("host")
