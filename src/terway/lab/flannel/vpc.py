"""How does the VPC learn which instance has a node's block? By a route, as `alivpc` makes it.

Source: github.com/flannel-io/flannel pkg/backend/alivpc; OpenAPI VPC 2016-04-28.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from typing import Any

from terway.cloud.credentials import RamRoleCredentials
from terway.cloud.metadata import MetadataClient
from terway.cloud.openapi import OpenAPI, Product, open_session
from terway.model.errors import ConflictError, TransientError

_ECS_VERSION, _VPC_VERSION = "2014-05-26", "2016-04-28"

# What the instances' role must allow beside what Terway needs.
ROLE_ACTIONS = (
    "vpc:CreateRouteEntry",
    "vpc:DescribeRouteEntryList",
    "vpc:DescribeRouteTableList",
    "ecs:ModifyNetworkInterfaceAttribute",
)


class VpcRoutes:
    """The VPC's route table, as this instance may change it."""

    def __init__(self, openapi: OpenAPI, metadata: MetadataClient, endpoint: str) -> None:
        self._openapi = openapi
        self._metadata = metadata
        self._ecs = Product(endpoint=endpoint, version=_ECS_VERSION)
        self._vpc = Product(endpoint=endpoint, version=_VPC_VERSION)

    async def lead_here(self, block: IPv4Network) -> None:
        """Have `block` routed to this instance, and let it send from there. Idempotent."""
        region, instance = await self._metadata.region_id(), await self._metadata.instance_id()
        table = await self._table(region)
        if not await self._has_route(region, table, block):
            await self._call(
                self._vpc,
                "CreateRouteEntry",
                RegionId=region,
                RouteTableId=table,
                DestinationCidrBlock=str(block),
                NextHopType="Instance",
                NextHopId=instance,
            )
        await self._call(
            self._ecs,
            "ModifyNetworkInterfaceAttribute",
            RegionId=region,
            NetworkInterfaceId=await self._primary_eni(),
            SourceDestCheck=False,
        )

    async def _table(self, region: str) -> str:
        vpc_id = await self._metadata.vpc_id()
        answer = await self._call(
            self._vpc, "DescribeRouteTableList", RegionId=region, VpcId=vpc_id
        )
        tables = answer["RouterTableList"]["RouterTableListType"]
        if not tables:
            raise TransientError(f"VPC {vpc_id} has no route table (yet)")
        return str(tables[0]["RouteTableId"])

    async def _has_route(self, region: str, table: str, block: IPv4Network) -> bool:
        answer = await self._call(
            self._vpc,
            "DescribeRouteEntryList",
            RegionId=region,
            RouteTableId=table,
            DestinationCidrBlock=str(block),
        )
        return bool(answer["RouteEntrys"]["RouteEntry"])

    async def _primary_eni(self) -> str:
        mac = await self._metadata.primary_mac()
        eni = await self._metadata.eni(mac)
        if eni is None:
            raise ConflictError(f"the metadata service does not know the primary ENI {mac}")
        return eni.id

    async def _call(self, product: Product, action: str, **parameters: Any) -> dict[str, Any]:
        return await self._openapi.call(product, action, parameters, dict[str, Any])


@asynccontextmanager
async def open_vpc_routes(endpoint: str) -> AsyncIterator[VpcRoutes]:
    """Open a client with the keys of the instance's RAM role."""
    async with open_session() as session:
        metadata = MetadataClient(session)
        credentials = RamRoleCredentials(metadata, now=time.time)
        yield VpcRoutes(OpenAPI(session, credentials), metadata, endpoint)
