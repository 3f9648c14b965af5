"""Services as the data path's maps have them, written by a test: frontends, sets, backends.

tables = ServiceTables(maps)
tables.serve(End("10.96.0.1", 80), "tcp", (tables.add_backend(End("10.0.0.1", 8080), "tcp"),))
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from terway.linux.bpf import Map
from terway.linux.ebpf import contract
from terway.linux.ebpf.entries import pack_number

PROTOCOLS = {
    "tcp": socket.IPPROTO_TCP,
    "udp": socket.IPPROTO_UDP,
    "sctp": socket.IPPROTO_SCTP,
}


@dataclass(frozen=True, slots=True)
class End:
    """An address and a port, as a test writes them: "10.96.0.1", 80."""

    host: str
    port: int

    @property
    def family(self) -> int:
        return ip_address(self.host).version

    def key(self, protocol: str) -> bytes:
        """Return it as the maps' key; the unspecified address is any of the node."""
        return contract.FRONTEND_KEY.pack(
            address=ip_address(self.host).packed,
            port=self.port.to_bytes(2, "big"),
            protocol=PROTOCOLS[protocol],
            family=self.family,
        )


class ServiceTables:
    """The maps of services in a loaded object."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps
        self._sets = itertools.count(1)
        self._backends = itertools.count(1)

    def add_backend(self, end: End, protocol: str, *, flags: int = 0) -> int:
        """Add a backend and return its number."""
        number = next(self._backends)
        self._put_backend(number, end, protocol, flags)
        return number

    def mark_terminating(self, number: int, end: End, protocol: str) -> None:
        """Have a backend go on with what it has, and get nothing new."""
        self._put_backend(number, end, protocol, contract.BACKEND_TERMINATING)

    def _put_backend(self, number: int, end: End, protocol: str, flags: int) -> None:
        value = contract.BACKEND.pack(
            address=ip_address(end.host).packed,
            port=end.port.to_bytes(2, "big"),
            protocol=PROTOCOLS[protocol],
            family=end.family,
            flags=flags,
        )
        self._maps["backends"].update(pack_number(number), value)

    def remove_backend(self, number: int) -> None:
        self._maps["backends"].delete(pack_number(number))

    def serve(
        self,
        frontend: End,
        protocol: str,
        backends: tuple[int, ...],
        *,
        outside: tuple[int, ...] | None = None,
        flags: int = 0,
        affinity_s: int = 0,
        service: int = 1,
    ) -> int:
        """Lead a frontend to backends, by number; return the number of their set.

        `outside` are those for who is outside, the same if not given.
        """
        inside = next(self._sets)
        self.change_set(inside, backends)
        given = inside if outside is None else next(self._sets)
        if outside is not None:
            self.change_set(given, outside)
        value = contract.FRONTEND.pack(
            service=service, inside=inside, outside=given, affinity_s=affinity_s, flags=flags
        )
        self._maps["frontends"].update(frontend.key(protocol), value)
        return inside

    def change_set(self, number: int, backends: tuple[int, ...]) -> None:
        """Have a set hold these backends; many have a table of their own, from slot 0 on."""
        if len(backends) > contract.SET_INLINE:
            for place, backend in enumerate(backends):
                self._maps["slots"].update(pack_number(place), pack_number(backend))
            value = contract.BACKEND_SET.pack(count=len(backends), size=len(backends))
        else:
            packed = b"".join(map(pack_number, backends))
            value = contract.BACKEND_SET.pack(count=len(backends), backend=packed)
        self._maps["sets"].update(pack_number(number), value)

    def allow(self, network: str, *, service: int = 1) -> None:
        """Let clients of a network use a service with source ranges."""
        allowed = ip_network(network)
        key = contract.SOURCE_RANGE.pack(
            prefixlen=contract.SOURCE_RANGE_BEFORE + allowed.prefixlen,
            service=service,
            family=allowed.version,
            address=allowed.network_address.packed,
        )
        self._maps["source_ranges"].update(key, pack_number(1))
