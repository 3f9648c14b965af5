"""How does a call to CLB or NLB go out, and what is gone already?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.cloud.wire import Done
from terway.model.errors import ConflictError
from terway.model.ids import RegionId

Answer = TypeVar("Answer")
Item = TypeVar("Item")

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
