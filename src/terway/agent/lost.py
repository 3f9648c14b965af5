"""Which pods hold an address that the cloud took away? Each is told once.

Source of the event's name: upstream's daemon reports such addresses as ResourceInvalid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from terway.ipam.pool import Pool
from terway.model.address import IPAddress
from terway.model.attachment import Attachment, AttachmentKey, PodRef

_log = structlog.get_logger("pool")
RESOURCE_INVALID = "ResourceInvalid"


class PodTeller(Protocol):
    """Where a warning about a pod goes."""

    def tell_pod(self, pod: PodRef, reason: str, message: str) -> None:
        """Warn about a pod."""
        ...


def tell_lost(
    before: Pool,
    after: Pool,
    attachment: Callable[[AttachmentKey], Attachment | None],
    teller: PodTeller | None,
) -> None:
    """Report the addresses that are missing since `before`."""
    for slot in after.slots.values():
        old = before.slots.get(slot.address)
        if slot.is_missing and slot.owner is not None and not (old and old.is_missing):
            _tell(slot.address, attachment(slot.owner), teller)


def _tell(address: IPAddress, holder: Attachment | None, teller: PodTeller | None) -> None:
    pod = holder.pod if holder is not None else None
    _log.warning("pool.address_lost", address=str(address), pod=str(pod) if pod else "")
    if teller is not None and pod is not None:
        message = f"{address} is no longer assigned to this node's ENI: delete the pod"
        teller.tell_pod(pod, RESOURCE_INVALID, message)
