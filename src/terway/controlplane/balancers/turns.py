"""How are the cloud's load balancer calls made? Each in its turn, by the one budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.controlplane.budget import Turns
from terway.model.errors import ThrottledError

Answer = TypeVar("Answer")
_WHO = "load balancers"


class TurnedCaller:
    """A caller that waits for its turn. Fits `terway.cloud.openapi.Caller`."""

    def __init__(self, openapi: Caller, budget: Turns) -> None:
        self._openapi = openapi
        self._budget = budget

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        """Call `action` and return its decoded answer."""
        name = f"{product.version}/{action}"  # two products have actions of one name
        await self._budget.take(name, who=_WHO)
        try:
            said = await self._openapi.call(product, action, parameters, answer)
        except ThrottledError as error:
            self._budget.throttled(name, error.retry_after_s)
            raise
        self._budget.answered(name)
        return said
