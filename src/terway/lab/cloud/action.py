"""What is an action of the cloud? A request type, and a function that answers such requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from terway.lab.cloud.requests import Request, parse_request
from terway.lab.cloud.world import World

Answer = dict[str, Any]  # JSON, without RequestId
R = TypeVar("R", bound=Request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(Generic[R]):
    """One action. `run` raises Refusal before it changes anything, or not at all."""

    request: type[R]
    run: Callable[[World, R], Answer]

    def perform(self, world: World, name: str, parameters: Mapping[str, str]) -> Answer:
        """Parse the parameters and run the action. Raises Refusal."""
        request = parse_request(name, parameters, self.request)
        world.check_region(request.region_id)
        return self.run(world, request)


Actions = Mapping[str, Action[Any]]
