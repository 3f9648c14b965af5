"""How does a call of load balancing go out, page after page, and what is gone already?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Protocol, TypeVar

from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.cloud.wire import Done
from terway.model.address import IPAddress
from terway.model.errors import ConflictError
from terway.model.ids import RegionId


class Page(Protocol):
    """A part of a list. Its token asks for the next part; the last one has none."""

    @property
    def next_token(self) -> str:
        """The token of the next page, or nothing."""
        ...


Answer = TypeVar("Answer")
Item = TypeVar("Item")
SomePage = TypeVar("SomePage", bound=Page)

GONE = (
    "InvalidLoadBalancerId.NotFound",
    "InvalidVServerGroupId.NotFound",
    "InvalidListenerPort.NotFound",
    "InvalidAclId.NotExist",
    "ResourceNotFound.loadBalancer",
    "ResourceNotFound.serverGroup",
    "ResourceNotFound.listener",
)


class BalancerCalls:
    """One product of one region."""

    def __init__(self, openapi: Caller, product: Product, region_id: RegionId) -> None:
        self._openapi = openapi
        self._product = product
        self._region_id = region_id

    async def call(self, action: str, parameters: dict[str, Value], answer: type[Answer]) -> Answer:
        """Call an action, and return what it answered."""
        named = {"RegionId": self._region_id, **parameters}
        return await self._openapi.call(self._product, action, named, answer)

    async def list_pages(
        self, action: str, parameters: Mapping[str, Value], answer: type[SomePage]
    ) -> list[SomePage]:
        """Return all pages of a list that is paged by tokens."""
        pages: list[SomePage] = []
        token: str | None = None
        while token != "":
            page = await self.call(action, {**parameters, "NextToken": token}, answer)
            pages.append(page)
            token = page.next_token
        return pages

    async def call_until_gone(self, action: str, parameters: dict[str, Value]) -> None:
        """Call a deletion; that what it is about has gone is success."""
        try:
            await self.call(action, parameters, Done)
        except ConflictError as refusal:
            if refusal.code not in GONE:
                raise


def in_batches(items: Sequence[Item], size: int) -> Iterable[Sequence[Item]]:
    """Return `items` in batches; no items are none."""
    return (items[start : start + size] for start in range(0, len(items), size))


def said_address(text: str) -> IPAddress | None:
    """Return an address of an answer, which has empty text where there is none."""
    return ip_address(text) if text else None
