"""How does one wait for the cluster to be as wished? By its own events, never by sleeping."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TypeVar

from terway.kube.backoff import Backoff
from terway.kube.client import EVERYTHING, KubeClient, Selector
from terway.kube.informer import Informer
from terway.kube.resource import ObjectKey, Resource
from terway.model.errors import TransientError

# A safety net: what comes at once on an idle machine comes late on a busy one.
PATIENCE_S = 120.0

T = TypeVar("T")
Objects = Mapping[ObjectKey, T]


async def wait_until(
    client: KubeClient,
    resource: Resource[T],
    trouble: Callable[[Objects[T]], str],
    *,
    timeout_s: float,
    namespace: str | None = None,
    selector: Selector = EVERYTHING,
    progress: Callable[[str], None] = lambda text: None,
) -> Objects[T]:
    """Return the objects as soon as `trouble` finds none with them, and says "".

    TransientError with the last trouble after `timeout_s`. `progress` hears each new trouble.
    """
    backoff = Backoff(random.Random(), initial_s=0.05, maximum_s=1.0)
    informer = Informer(client, resource, backoff=backoff, namespace=namespace, selector=selector)
    last, told = "the API server does not answer", ""
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as tasks:
            run = tasks.create_task(informer.run())
            await informer.synced.wait()
            with informer.subscribe() as changes:
                while last := trouble(informer.objects):
                    if last != told:
                        progress(last)
                        told = last
                    await anext(changes)
            run.cancel()
    except TimeoutError as error:
        raise TransientError(f"not within {timeout_s:.0f} s: {last}") from error
    return dict(informer.objects)
