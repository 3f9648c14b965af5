"""Is the PodENI of a pod there yet? One look; then a watch of that one object, while ADD waits.

Nothing of it is kept: a pod has its PodENI by the time of its ADD nearly always, where the
scheduler was held back for it (the gate k8s.aliyun.com/pod-eni).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, Selector
from terway.kube.informer import Informer
from terway.kube.resource import Resource
from terway.model.attachment import PodRef
from terway.model.errors import TransientError

T = TypeVar("T")

# Less than an ADD may take, so that its answer says what is missing.
PATIENCE_S = 90.0


async def wait_for(
    client: KubeClient,
    resource: Resource[T],
    ref: PodRef,
    missing: Callable[[T | None], str],
    *,
    patience_s: float = PATIENCE_S,
) -> T:
    """Return the object of the pod's name as soon as nothing is `missing` of it.

    Raises TransientError (code PodENINotReady) after `patience_s` seconds, with what was missing
    last, and at once where the API server cannot be asked at all.
    """
    found = await client.get(resource, ref.name, namespace=ref.namespace)
    if found is not None and not missing(found):
        return found
    informer = Informer(
        client,
        resource,
        backoff=Backoff(Random()),  # noqa: S311 - waits are drawn from it, not secrets
        namespace=ref.namespace,
        selector=Selector(fields=f"metadata.name={ref.name}"),
    )
    try:
        async with asyncio.timeout(patience_s):
            return await _follow(informer, missing)
    except TimeoutError as error:
        if informer.synced.is_set():  # otherwise what was seen at first is all that is known
            found = informer.get(ref.name, namespace=ref.namespace)
        why = missing(found)
        text = f"{resource.kind} of pod {ref} is not ready after {patience_s:g} s: {why}"
        raise TransientError(text, code="PodENINotReady") from error


async def _follow(informer: Informer[T], missing: Callable[[T | None], str]) -> T:
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(informer.run(), name="podeni")
        try:
            with informer.subscribe() as changes:
                async for change in changes:
                    if change.new is not None and not missing(change.new):
                        return change.new
        finally:
            watching.cancel()
    raise AssertionError  # changes do not end
