"""Pods with an ENI each: of one family, without a second leg; and types that are too small."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from terway.lab.world.lab import open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.model.address import Family, IPStack
from terway.model.errors import UsageError

pytestmark = [pytest.mark.lab]

ENOUGH = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
SMALL = NodePool(name="small", nodes=1, instance_type="ecs.g7.2xlarge", labels=EXCLUSIVE_LABELS)


def short_name() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


async def test_pods_of_one_family_without_a_second_leg_talk_by_the_vpc():
    async with open_lab(
        name=short_name(),
        nodes=0,
        pools=(ENOUGH,),
        stack=IPStack.IPV4,
        cni={"disable_host_peer": True},
    ) as lab:
        a, b = await asyncio.gather(*(lab.pod(name, node="eni-1") for name in ("a", "b")))

        seen = await a.tool("whoami", str(b.address(Family.V4)))
        links = await a.exec("ip", "-br", "link")
        on_node = await lab.node("eni-1").exec("ip", "-br", "link")

        assert seen["peer"] == str(a.address(Family.V4))
        assert a.addresses.v6 is None
        assert "veth1" not in links
        assert "cali" not in on_node


async def test_a_type_that_is_too_small_is_refused_with_the_arithmetic():
    with pytest.raises(UsageError) as refused:
        async with open_lab(name=short_name(), nodes=0, pools=(SMALL,), stack=IPStack.IPV4):
            raise AssertionError("a lab of nodes that are too small came up")

    assert "EniQuantity - 1 = 4 - 1: it must be more than 6" in str(refused.value)
