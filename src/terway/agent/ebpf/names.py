"""Whose are an endpoint's number and an address, as the journal says now?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from terway.linux.bpf import Map
from terway.linux.ebpf.contract import ENDPOINT
from terway.model.address import IPAddress, IPPair
from terway.model.attachment import Attachment

Attachments = Callable[[], Iterable[Attachment]]


def owner_of(attachment: Attachment) -> str:
    """Return NAMESPACE/NAME; the container's id where Kubernetes does not know it."""
    return str(attachment.pod) if attachment.pod else attachment.key.container_id


def addresses_of(entry: bytes) -> IPPair:
    """Return the addresses of an entry of the map `endpoints`."""
    found = {name: part for name, part in ENDPOINT.unpack(entry).items() if isinstance(part, bytes)}
    return IPPair(
        v4=IPv4Address(found["v4"]) if any(found["v4"]) else None,
        v6=IPv6Address(found["v6"]) if any(found["v6"]) else None,
    )


class Names:
    """Looks names up: attachments by address, endpoints by the kernel's own map."""

    def __init__(self, attachments: Attachments, endpoints: Map) -> None:
        self._attachments = attachments
        self._endpoints = endpoints
        self._held: dict[IPAddress, Attachment] = {}
        self._numbers: dict[int, Attachment] = {}

    def refresh(self) -> None:
        """Look anew who is here."""
        self._held = {
            address: one for one in self._attachments() for address in one.lease.addresses
        }
        self._numbers.clear()

    def at(self, endpoint: int) -> Attachment | None:
        """Return whose an endpoint is."""
        if endpoint not in self._numbers:
            entry = self._endpoints.lookup(endpoint.to_bytes(4, "little")) if endpoint else None
            addresses = addresses_of(entry) if entry is not None else IPPair()
            held = next((self._held[one] for one in addresses if one in self._held), None)
            if held is None:
                return None
            self._numbers[endpoint] = held
        return self._numbers[endpoint]

    def name_of(self, address: IPAddress) -> str:
        """Return the pod of this node that has an address; empty when none has."""
        held = self._held.get(address)
        return "" if held is None else owner_of(held)

    def endpoints_of(self, pod: str) -> Iterator[tuple[int, IPPair]]:
        """Yield the endpoints of a pod, "NAMESPACE/NAME", and their addresses."""
        for key, entry in self._endpoints.items().items():
            number = int.from_bytes(key, "little")
            held = self.at(number)
            if held is not None and owner_of(held) == pod:
                yield number, addresses_of(entry)
