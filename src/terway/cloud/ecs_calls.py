"""How does a call to ECS or VPC go out, and how are ENIs listed? Other calls build on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from terway.cloud import wire
from terway.cloud.openapi import Caller, OnCall, OpenAPI, Product
from terway.cloud.query import Value
from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.errors import ConflictError
from terway.model.ids import ENIId, InstanceId, RegionId, VpcId

ECS_VERSION = "2014-05-26"
VPC_VERSION = "2016-04-28"
PAGE_SIZE = 500  # the most that DescribeNetworkInterfaces gives at once
MAX_ENI_IDS = 100  # per call
ENI_GONE = "InvalidEniId.NotFound"

Answer = TypeVar("Answer")
Tags = Sequence[tuple[str, str]]


class EcsCalls:
    """One region of the cloud, and the ENIs in it."""

    def __init__(
        self, openapi: Caller, *, region_id: RegionId, ecs_endpoint: str, vpc_endpoint: str
    ) -> None:
        self._openapi = openapi
        self._region_id = region_id
        self._ecs = Product(endpoint=ecs_endpoint, version=ECS_VERSION)
        self._vpc = Product(endpoint=vpc_endpoint, version=VPC_VERSION)

    def observe(self, on_call: OnCall) -> None:
        """Have `on_call` hear of each call from now on; of the real API's only."""
        if isinstance(self._openapi, OpenAPI):
            self._openapi.on_call = on_call

    async def describe_enis(
        self,
        *,
        instance_id: InstanceId | None = None,
        eni_ids: Sequence[ENIId] = (),
        type: ENIType | None = None,  # noqa: A002 - the API's own name
        status: ENIStatus | None = None,
        tags: Tags = (),
        vpc_id: VpcId | None = None,
    ) -> tuple[ENI, ...]:
        """Return all ENIs that match every given filter, from all pages.

        Those of an instance include the members of its trunk. A tag without a value asks for the
        key alone.
        """
        filters: dict[str, Value] = {
            "InstanceId": instance_id,
            "VpcId": vpc_id,
            "Type": type and type.value,
            "Status": status and status.value,
            "Tag": tag_list(tags),
        }
        found: list[ENI] = []
        for batch in batches(eni_ids, MAX_ENI_IDS):
            async for page in self._eni_pages({**filters, "NetworkInterfaceId": batch}):
                found += map(wire.parse_eni, page.network_interface_sets.network_interface_set)
        return tuple(found)

    async def page_of_enis(
        self, *, vpc_id: VpcId | None, token: str
    ) -> tuple[tuple[ENI, ...], str]:
        """Return up to 500 ENIs of a VPC, or of the region, and the token of the next page.

        The first page has no token, the last one gives none.
        """
        parameters: dict[str, Value] = {
            "VpcId": vpc_id,
            "MaxResults": PAGE_SIZE,
            "NextToken": token or None,
        }
        page = await self.call_ecs(
            "DescribeNetworkInterfaces", parameters, wire.NetworkInterfacesPage
        )
        found = map(wire.parse_eni, page.network_interface_sets.network_interface_set)
        return tuple(found), page.next_token

    async def _eni_pages(
        self, parameters: dict[str, Value]
    ) -> AsyncIterator[wire.NetworkInterfacesPage]:
        parameters = {**parameters, "MaxResults": PAGE_SIZE}
        while True:
            page = await self.call_ecs(
                "DescribeNetworkInterfaces", parameters, wire.NetworkInterfacesPage
            )
            yield page
            if not page.next_token:
                return
            parameters = {**parameters, "NextToken": page.next_token}

    async def call_until_gone(
        self, action: str, parameters: dict[str, Value], *, gone: tuple[str, ...]
    ) -> None:
        """Call an action of ECS; that what it is about has `gone` is success."""
        try:
            await self.call_ecs(action, parameters, wire.Done)
        except ConflictError as refusal:
            if refusal.code not in gone:
                raise

    async def call_ecs(
        self, action: str, parameters: dict[str, Value], answer: type[Answer]
    ) -> Answer:
        """Call an action of ECS, and return what it answered."""
        return await self._openapi.call(
            self._ecs, action, {"RegionId": self._region_id, **parameters}, answer
        )


def tag_list(tags: Tags) -> Value:
    """Return tags as the API takes them."""
    return tuple({"Key": key, "Value": value} for key, value in tags)


def batches(items: Sequence[str], size: int) -> Sequence[Sequence[str]]:
    """Return `items` in batches; no items are one empty batch, which is no filter."""
    return [items[start : start + size] for start in range(0, max(len(items), 1), size)]
