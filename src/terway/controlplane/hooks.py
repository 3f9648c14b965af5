"""Which webhook configurations does the API server have, and by which CA does it know us?

They are made here, not by the chart: what the server can do decides what they say. See
docs/decisions/0023. Everything else that somebody put on them, labels and so on, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from terway.controlplane.entries import Hook, Place, mutating_hooks, validating_hooks
from terway.kube.client import KubeClient
from terway.kube.errors import lacks_rights
from terway.kube.resource import Resource
from terway.model.errors import ConflictError, UsageError
from terway.model.pod_network import PodNetworking
from terway.podeni.settings import Settings

_log = structlog.get_logger("webhook")


def _configurations(kind: str) -> Resource[dict[str, Any]]:
    return Resource(
        group="admissionregistration.k8s.io",
        version="v1",
        plural=f"{kind.lower()}s",
        kind=kind,
        namespaced=False,
        read_as=dict[str, Any],
    )


MUTATING = _configurations("MutatingWebhookConfiguration")
VALIDATING = _configurations("ValidatingWebhookConfiguration")


async def ensure_hooks(
    client: KubeClient,
    place: Place,
    ca_pem: str,
    *,
    networkings: Iterable[PodNetworking] = (),
    settings: Settings,
) -> bool:
    """Make or mend both configurations; return whether the server evaluates conditions.

    Safe to repeat, and to be done by several at a time.
    """
    chosen = tuple(networkings)

    def wanted(*, evaluates: bool) -> list[Hook]:
        return mutating_hooks(
            place, ca_pem, networkings=chosen, settings=settings, evaluates=evaluates
        )

    await _ensure(client, VALIDATING, place.name, validating_hooks(place, ca_pem))
    if await _holds_conditions(client, place.name, wanted(evaluates=True)):
        return True
    await _ensure(client, MUTATING, place.name, wanted(evaluates=False))
    return False


async def _holds_conditions(client: KubeClient, name: str, wanted: list[Hook]) -> bool:
    """Say whether the entries stay as they are, with their conditions.

    A server before 1.27 drops the field, and would hold up every pod; so that is tried with
    entries that fail open. Others refuse what they cannot evaluate.
    """
    harmless = [{**one, "failurePolicy": "Ignore"} for one in wanted]
    try:
        found = await client.get(MUTATING, name)
        if found is None or not _has_conditions(found):
            found = await _ensure(client, MUTATING, name, harmless)
        if not _has_conditions(found):
            return False
        await _ensure(client, MUTATING, name, wanted)
    except UsageError as error:
        if lacks_rights(error):
            raise  # that says nothing of what the server can do
        _log.info("webhook.no_conditions", error=str(error))
        return False
    return True


def _has_conditions(configuration: Mapping[str, Any]) -> bool:
    hooks = configuration.get("webhooks") or ()
    return any(one.get("matchConditions") for one in hooks)


async def _ensure(
    client: KubeClient, resource: Resource[dict[str, Any]], name: str, hooks: list[Hook]
) -> dict[str, Any]:
    while True:
        found = await client.get(resource, name)
        try:
            if found is None:
                return await client.create(
                    resource, {"metadata": {"name": name}, "webhooks": hooks}
                )
            if _covers(found.get("webhooks") or [], hooks):
                return found
            return await client.update(resource, {**found, "webhooks": hooks})
        except ConflictError:
            continue  # another instance was faster: look what it made of it


def _covers(found: Any, wanted: Any) -> bool:
    """Say whether `found` has all that is wanted; the server adds what it has by default."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _covers(found.get(name), held) for name, held in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(_covers, found, wanted))
        )
    return bool(found == wanted)
