"""Which addresses and node ports do the Services of a store have? Counted as they come and go.

Reading all Services for each new one would make the ten thousandth cost a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TypeVar

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import SERVICE
from terway.lab.kubeapi.servicefamilies import HEADLESS, addresses_in
from terway.lab.kubeapi.services.fields import node_ports_of
from terway.lab.kubeapi.store import Change, Store
from terway.model.address import IPAddress, IPNetwork

T = TypeVar("T")


class Allocations:
    """What is taken, for as long as the store lives; a Service's own counts as taken, too."""

    def __init__(self, store: Store) -> None:
        self._addresses: Counter[IPAddress] = Counter()
        self._ports: Counter[int] = Counter()
        self._lowest: dict[IPNetwork, int] = {}  # below it, all of the range are taken
        for held in store.items(SERVICE):
            self._add(held.object)
        store.on_change(self._hear)

    @property
    def ports(self) -> Mapping[int, int]:
        """Return the node ports that are taken."""
        return self._ports

    def __contains__(self, address: object) -> bool:
        return address in self._addresses

    def first_free(self, range_: IPNetwork) -> IPAddress | None:
        """Return the lowest address of a range that a Service can have, None when all are taken.

        The ends of an IPv4 range are no host's, and the first of an IPv6 range is all routers'.
        """
        last = int(range_.broadcast_address) - (range_.version == 4)
        number = self._lowest.get(range_, int(range_.network_address) + 1)
        kind = type(range_.network_address)
        while number <= last and kind(number) in self._addresses:
            number += 1
        self._lowest[range_] = number
        return kind(number) if number <= last else None

    def _hear(self, change: Change) -> None:
        if change.resource is not SERVICE:
            return
        if change.old is not None:
            self._remove(change.old.object)
        if not change.is_deletion:
            self._add(change.new.object)

    def _add(self, service: Object) -> None:
        self._addresses.update(_addresses_of(service))
        self._ports.update(node_ports_of(service["spec"]))

    def _remove(self, service: Object) -> None:
        for address in _addresses_of(service):
            _count_down(self._addresses, address)
            for range_, lowest in self._lowest.items():
                if address in range_:
                    self._lowest[range_] = min(lowest, int(address))
        for port in node_ports_of(service["spec"]):
            _count_down(self._ports, port)


def _addresses_of(service: Object) -> Iterator[IPAddress]:
    return (ip_address(one) for one in addresses_in(service["spec"]) if one != HEADLESS)


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
