"""Which collections does this process follow? One copy of each, for whoever asks.

The webhook of an instance that does not lead needs few of them, so a collection is followed from
when the first part asks for it, which may be long after the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

from terway.kube.backoff import Backoff
from terway.kube.client import EVERYTHING, KubeClient, Selector
from terway.kube.informer import Informer
from terway.kube.resource import Resource

T = TypeVar("T")

_Collection = tuple[Resource[Any], str | None, Selector]


class Asked:
    """The collections that somebody asked for: what it reads, and has to wait for."""

    def __init__(self) -> None:
        self._informers: dict[Informer[Any], str] = {}

    def add(self, informer: Informer[Any], name: str) -> None:
        """Note one, by the name that people know it by."""
        self._informers[informer] = name

    async def synced(self) -> None:
        """Return once all of them are there."""
        for informer in tuple(self._informers):
            await informer.synced.wait()

    @property
    def unsynced(self) -> tuple[str, ...]:
        """Return those that are not there yet."""
        return tuple(
            name for informer, name in self._informers.items() if not informer.synced.is_set()
        )


class SharedInformers:
    """Informers by resource. `run` them in a task group; `synced` says when all are filled.

    Two values of `Resource` are two collections, so parts must ask with the same one: those of
    `watched.py` for pods and nodes. `on_error` is told each failure that is waited out, the lack
    of a right too: the webhook goes on meanwhile with what it has.
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
        self._informers: dict[_Collection, Informer[Any]] = {}
        self._listening: list[Asked] = []
        self._tasks: asyncio.TaskGroup | None = None

    @contextmanager
    def asked(self) -> Iterator[Asked]:
        """Give what is asked for in the block, whether or not it was asked for before.

        What is asked for in such a block within it is of that one alone.
        """
        asked = Asked()
        self._listening.append(asked)
        try:
            yield asked
        finally:
            self._listening.remove(asked)

    def of(
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        selector: Selector = EVERYTHING,
    ) -> Informer[T]:
        """Return the copy of the collection, or of this part of it.

        Asking makes it part of what is watched.
        """
        collection = (resource, namespace, selector)
        informer = self._informers.get(collection)
        if informer is None:
            informer = self._informers[collection] = Informer(
                self._client,
                resource,
                backoff=Backoff(self._rng),
                namespace=namespace,
                selector=selector,
                on_error=lambda error: self._on_error(resource, error),
                waits_for_rights=True,
            )
            if self._tasks is not None:
                self._tasks.create_task(informer.run(), name=f"informer {resource.plural}")
        if self._listening:
            self._listening[-1].add(informer, _name_of(resource))
        return informer

    async def run(self) -> None:
        """Follow all that was asked for, and what will be, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for (resource, *_), informer in self._informers.items():
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
        sizes: dict[str, int] = {}
        for (resource, *_), informer in self._informers.items():
            name = _name_of(resource)
            sizes[name] = sizes.get(name, 0) + len(informer.objects)
        return sizes

    @property
    def unsynced(self) -> tuple[str, ...]:
        """Return the collections that were asked for and are not there yet."""
        return self.pending()()

    def pending(self) -> Callable[[], tuple[str, ...]]:
        """Return what tells which of those that were asked for until now are not there yet."""
        asked = tuple(self._informers.items())
        return lambda: tuple(
            resource.plural for (resource, *_), informer in asked if not informer.synced.is_set()
        )


def _name_of(resource: Resource[Any]) -> str:
    """Return the name as `kubectl get` takes it: `nodes` alone are Kubernetes' own, not ours."""
    return f"{resource.plural}.{resource.group}".rstrip(".")
