"""How is a Service held until nothing of it is left at the cloud? By our finalizer."""

from __future__ import annotations

from typing import Any

from terway.controlplane.balancers.objects import FINALIZER, SERVICES, BalancedService
from terway.controlplane.ports import KubePort
from terway.model.errors import ConflictError


def is_held(found: BalancedService) -> bool:
    """Return whether our finalizer is there."""
    return FINALIZER in found.metadata.finalizers


async def hold(client: KubePort, found: BalancedService) -> None:
    """Add our finalizer. Raises ConflictError where somebody changed the list meanwhile."""
    if not is_held(found):
        await _write(client, found, [*found.metadata.finalizers, FINALIZER])


async def let_go(client: KubePort, found: BalancedService) -> None:
    """Remove our finalizer; raises as `hold` does."""
    await _write(client, found, [one for one in found.metadata.finalizers if one != FINALIZER])


async def _write(client: KubePort, found: BalancedService, finalizers: list[str]) -> None:
    patch: dict[str, Any] = {
        "metadata": {
            "finalizers": finalizers,
            "resourceVersion": found.metadata.resource_version,
        }
    }
    try:
        await client.patch(SERVICES, found.metadata.name, patch, namespace=found.metadata.namespace)
    except ConflictError as error:
        if error.code != "NotFound":
            raise
