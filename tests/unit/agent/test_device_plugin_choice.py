"""A node says how many ENIs pods can have of their own, by the documentation's formula."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from terway.agent.device_plugin_choice import (
    ENI,
    ERDMA,
    MEMBER_ENI,
    advertise,
    advertised,
    tell_node,
)
from terway.kube.resource import NODES
from terway.model.eni import InstanceLimits
from terway.model.ids import NodeName
from terway.model.interface import Mode
from tests.support.cluster import make_cluster
from tests.support.fake_kubelet import fake_kubelet
from tests.support.kube_server import open_client

LIMITS = InstanceLimits(
    instance_type="ecs.g7.2xlarge",
    eni_quantity=4,
    eni_private_ip_address_quantity=15,
    eni_ipv6_address_quantity=15,
    eni_trunk_supported=True,
    eni_total_quantity=20,
)
NODE = NodeName("eni-node-1")


@pytest.mark.parametrize(
    ("mode", "has_trunk", "limits", "counts"),
    [
        (Mode.EXCLUSIVE, False, LIMITS, {ENI: 3}),
        (Mode.EXCLUSIVE, True, LIMITS, {ENI: 3}),
        (Mode.VETH, True, LIMITS, {MEMBER_ENI: 16, ENI: 1}),
        (Mode.DATAPATHV2, True, LIMITS, {MEMBER_ENI: 16, ENI: 1}),
        (Mode.VETH, False, LIMITS, {ENI: 1}),
        (Mode.VETH, True, replace(LIMITS, eni_trunk_supported=False), {ENI: 1}),
        (Mode.VETH, True, replace(LIMITS, eni_total_quantity=4), {ENI: 1}),
    ],
)
def test_what_a_node_has_follows_from_its_type_and_mode(mode, has_trunk, limits, counts):
    """Of three slots the pool of a node whose pods share ENIs has two here."""
    found = advertised(limits, mode, has_trunk=has_trunk, pooled=lambda: 2)

    assert {resource: count() for resource, count in found.items()} == counts


@pytest.mark.parametrize(("mode", "counts"), [(Mode.VETH, {ERDMA: 15}), (Mode.EXCLUSIVE, {ENI: 3})])
def test_pods_with_rdma_are_told_of_where_pods_share_enis(mode, counts):
    found = advertised(LIMITS, mode, has_trunk=False, pooled=None, rdma_pods=15)

    assert {resource: count() for resource, count in found.items()} == counts


def test_whoever_supplies_the_pool_says_what_is_left_of_it():
    assert advertised(LIMITS, Mode.VETH, has_trunk=False, pooled=None) == {}


@pytest.mark.parametrize(("pooled", "left"), [(None, 0), (0, 3), (3, 0), (4, 0)])
def test_what_the_pool_has_nobody_has_whole(pooled, left):
    counts = advertised(LIMITS, Mode.VETH, has_trunk=True, pooled=lambda: pooled)

    assert counts[ENI]() == left


async def test_where_there_are_no_device_plugins_the_node_says_it_itself(tmp_path):
    state = make_cluster()
    async with open_client(state, tmp_path) as client:
        await client.create(NODES, {"metadata": {"name": NODE}})

        await tell_node({ENI: 3}, client, NODE)

        node = await client.get(NODES, NODE)
        assert node is not None
        raw = await client.request("GET", NODES.path(name=NODE))
        assert b'"aliyun/eni":"3"' in raw.replace(b" ", b"")


async def test_a_kubelet_with_device_plugins_is_told_each_resource(tmp_path):
    folder = tmp_path / "device-plugins"
    async with open_client(make_cluster(), tmp_path) as client, fake_kubelet(folder) as kubelet:
        telling = asyncio.ensure_future(
            advertise(
                {ENI: lambda: 3}, client=client, node=NODE, is_centralized=True, folder=folder
            )
        )

        assert (await kubelet.registered.get()).resource == ENI

        telling.cancel()
        await asyncio.wait([telling])


async def test_a_control_plane_that_says_it_is_not_talked_into(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await advertise(
            {ENI: lambda: 3},
            client=client,
            node=NODE,
            is_centralized=True,
            folder=tmp_path / "none",
        )
