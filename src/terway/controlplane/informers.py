"""Which collections does this process follow? One copy of each, for whoever asks.

The webhook of an instance that does not lead needs few of them, so a collection is followed from
when the first part asks for it, which may be long after the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.informer import Informer
from terway.kube.resource import Resource

T = TypeVar("T")


class SharedInformers:
    """Informers by resource. `run` them in a task group; `synced` says when all are filled.

    Two values of `Resource` are two collections, so parts must ask with the same one: those of
    `watched.py` for pods and nodes. `on_error` is told each failure that is waited out.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        rng: Random,
        on_error: Callable[[Resource[Any], Exception], None] = lambda resource, error: None,
    ) -> None:
        self._client = client
        self._rng = rng
        self._on_error = on_error
        self._informers: dict[Resource[Any], Informer[Any]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def of(self, resource: Resource[T]) -> Informer[T]:
        """Return the copy of the collection; asking makes it part of what is watched."""
        informer = self._informers.get(resource)
        if informer is None:
            informer = Informer(
                self._client,
                resource,
                backoff=Backoff(self._rng),
                on_error=lambda error: self._on_error(resource, error),
            )
            self._informers[resource] = informer
            if self._tasks is not None:
                self._tasks.create_task(informer.run(), name=f"informer {resource.plural}")
        return informer

    async def run(self) -> None:
        """Follow all that was asked for, and what will be, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for resource, informer in self._informers.items():
                tasks.create_task(informer.run(), name=f"informer {resource.plural}")
            try:
                await asyncio.get_running_loop().create_future()  # somebody may still ask
            finally:
                self._tasks = None

    async def synced(self) -> None:
        """Return once everything that was asked for is there."""
        for informer in tuple(self._informers.values()):
            await informer.synced.wait()

    def sizes(self) -> dict[str, int]:
        """Return how many objects of each collection are in memory."""
        return {
            f"{resource.plural}.{resource.group}".rstrip("."): len(informer.objects)
            for resource, informer in self._informers.items()
        }

    @property
    def unsynced(self) -> tuple[str, ...]:
        """Return the collections that were asked for and are not there yet."""
        return tuple(
            resource.plural
            for resource, informer in self._informers.items()
            if not informer.synced.is_set()
        )
