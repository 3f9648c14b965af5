"""Who answers the probes? For each destination one socket, in its own network namespace."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

from terway.lab.policy import sctp
from terway.lab.policy.sockets import (
    PEEK_BYTES,
    Namespaces,
    sctp_socket,
    send_from,
    tcp_listener,
    udp_socket,
)
from terway.model.address import IPAddress
from terway.policy.cluster import Protocol

BYTE = b"terway"


class Answerers:
    """The sockets that answer; `selector` calls them when something comes.

    `acknowledged` is told of each INIT ACK: its namespace, whom it came from, and the packet.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        selector: selectors.BaseSelector,
        acknowledged: Callable[[str, IPAddress, sctp.Packet], None],
    ) -> None:
        self._namespaces = namespaces
        self._selector = selector
        self._acknowledged = acknowledged
        self._errors: dict[tuple[str, Protocol, IPAddress, int], str] = {}
        self._accepted: list[socket.socket] = []
        self._raw: dict[tuple[str, int], socket.socket] = {}

    def open(self, netns: str, protocol: Protocol, address: IPAddress, port: int) -> str:
        """Answer on a port of an address; idempotent. Return why not, or nothing."""
        place = (netns, protocol, address, port)
        if place not in self._errors:
            try:
                self._make(netns, protocol, address, port)
                self._errors[place] = ""
            except OSError as error:
                self._errors[place] = f"port {port} of {address}: {error.strerror}"
        return self._errors[place]

    def sctp(self, netns: str, version: int) -> socket.socket:
        """Return the socket of a namespace for all SCTP packets of a family."""
        if (netns, version) not in self._raw:
            sock = self._namespaces.make(netns, lambda: sctp_socket(version))
            self._raw[netns, version] = sock
            self._add(sock, lambda: self._take_sctp(netns, version, sock))
        return self._raw[netns, version]

    def close(self) -> None:
        """Close what was accepted; the selector's owner closes the rest."""
        for sock in self._accepted:
            sock.close()

    def _make(self, netns: str, protocol: Protocol, address: IPAddress, port: int) -> None:
        match protocol:
            case Protocol.TCP:
                listener = self._namespaces.make(netns, lambda: tcp_listener(address, port))
                self._add(listener, lambda: self._accept(listener))
            case Protocol.UDP:
                sock = self._namespaces.make(netns, lambda: udp_socket(address, port))
                self._add(sock, lambda: _echo(sock))
            case Protocol.SCTP:
                self.sctp(netns, address.version)
            case Protocol.OTHER:
                pass  # the kernel answers an echo

    def _add(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the client gave up meanwhile
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            self._accepted.append(accepted)
            accepted.send(BYTE)

    def _take_sctp(self, netns: str, version: int, sock: socket.socket) -> None:
        received = _receive(sock, version)
        if received is None:
            return
        packet, source, destination = received
        if packet.kind == sctp.INIT:
            if self._errors.get((netns, Protocol.SCTP, destination, packet.destination)) == "":
                answer = sctp.Packet(
                    source=packet.destination,
                    destination=packet.source,
                    tag=packet.own_tag,
                    kind=sctp.INIT_ACK,
                    own_tag=packet.own_tag,
                )
                send_from(sock, answer.encode(), destination, source)
        elif packet.kind == sctp.INIT_ACK:
            self._acknowledged(netns, source, packet)


def _echo(sock: socket.socket) -> None:
    with suppress(OSError):  # an ICMP error for an earlier answer
        data, peer = sock.recvfrom(PEEK_BYTES)
        sock.sendto(data, peer)


def _receive(sock: socket.socket, version: int) -> tuple[sctp.Packet, IPAddress, IPAddress] | None:
    """Return a packet with its source and destination; None for what is no SCTP."""
    try:
        data, ancillary, _, peer = sock.recvmsg(PEEK_BYTES, 256)
    except OSError:
        return None
    if version == 4:
        source, destination = ip_address(data[12:16]), ip_address(data[16:20])
        data = data[(data[0] & 15) * 4 :]
    else:
        found = next((held for _, kind, held in ancillary if kind == socket.IPV6_PKTINFO), None)
        if found is None:
            return None
        source, destination = ip_address(peer[0].partition("%")[0]), ip_address(found[:16])
    packet = sctp.decode(data)
    return None if packet is None else (packet, source, destination)
