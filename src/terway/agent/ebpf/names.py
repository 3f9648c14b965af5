"""Whose are an endpoint's number and an address, as the journal says now?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from terway.model.address import IPAddress, IPPair
from terway.model.attachment import Attachment
from terway.model.endpoint import EndpointNumber, endpoint_number

Attachments = Callable[[], Iterable[Attachment]]


def owner_of(attachment: Attachment) -> str:
    """Return NAMESPACE/NAME; the container's id where Kubernetes does not know it."""
    return str(attachment.pod) if attachment.pod else attachment.key.container_id


class Names:
    """Attachments by number and by address."""

    def __init__(self, attachments: Iterable[Attachment]) -> None:
        self._by_number = {endpoint_number(one.key): one for one in attachments}
        self._by_address = {
            address: one for one in self._by_number.values() for address in one.lease.addresses
        }

    @property
    def numbers(self) -> frozenset[EndpointNumber]:
        """Return the numbers of the endpoints that are here."""
        return frozenset(self._by_number)

    def at(self, endpoint: int) -> Attachment | None:
        """Return whose an endpoint is; None for nobody's, and for one that is gone."""
        return self._by_number.get(EndpointNumber(endpoint))

    def name_of(self, address: IPAddress) -> str:
        """Return the pod of this node that has an address; empty when none has."""
        held = self._by_address.get(address)
        return "" if held is None else owner_of(held)

    def endpoints_of(self, pod: str) -> Iterator[tuple[EndpointNumber, IPPair]]:
        """Yield the endpoints of a pod, "NAMESPACE/NAME", and their addresses."""
        for number, held in self._by_number.items():
            if owner_of(held) == pod:
                yield number, held.lease.addresses
