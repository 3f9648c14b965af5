"""Do these connections come about? Real packets, all at once, each answered or not in time.

    attempt ──► socket in the source's namespace ──► … ──► socket in the destination's, answers

Allowed is what is answered: TCP by a byte over the connection, UDP by an echo, SCTP by INIT ACK;
protocols without ports stand for one that a kernel answers, the echo of ICMP.
Denied is silence, or a refusal by somebody on the way: whoever is asked would answer. All that is
not answered is asked again and again, until for a while no packet at all has come to any of us: a
machine that is busy gets more time.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from terway.lab.policy import echo, sctp
from terway.lab.policy.answering import BYTE, Answerers
from terway.lab.policy.sockets import (
    PEEK_BYTES,
    Namespaces,
    client_socket,
    echo_socket,
    send_from,
)
from terway.model.address import IPAddress
from terway.policy.cluster import Protocol

SILENCE_S = 0.8
_AGAIN_S = 0.25  # a kernel would send a SYN again after a second only
_TRIES = 3
_TICK_S = 0.1
_FIRST_PORT = 33000  # of SCTP's clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One connection. `netns` are paths of the two ends' network namespaces.

    With `via` the source asks for this address and port, which somebody translates.
    """

    source_netns: str
    source: IPAddress
    destination_netns: str
    destination: IPAddress
    protocol: Protocol
    port: int
    via: tuple[IPAddress, int] | None = None

    @property
    def dialled(self) -> tuple[IPAddress, int]:
        """Return the address and port that the source asks for."""
        return self.via or (self.destination, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it; with an `error` it could not be tried."""

    is_answered: bool = False
    error: str = ""


def try_all(attempts: Sequence[Attempt], *, silence_s: float = SILENCE_S) -> list[Outcome]:
    """Return what came of each attempt. Blocking: for a thread of its own."""
    namespaces = Namespaces()
    selector = selectors.DefaultSelector()
    try:
        return _Round(namespaces, selector, attempts).run(silence_s)
    finally:
        for key in tuple(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket), "nothing else is registered"
            key.fileobj.close()
        selector.close()
        namespaces.close()


class _Round:
    """The attempts of one state."""

    def __init__(
        self,
        namespaces: Namespaces,
        selector: selectors.BaseSelector,
        attempts: Sequence[Attempt],
    ) -> None:
        self._namespaces = namespaces
        self._selector = selector
        self._attempts = attempts
        self._outcomes: list[Outcome | None] = [None] * len(attempts)
        self._answerers = Answerers(namespaces, selector, self._acknowledged)

    def run(self, silence_s: float) -> list[Outcome]:
        try:
            for number, one in enumerate(self._attempts):
                error = self._answerers.open(
                    one.destination_netns, one.protocol, one.destination, one.port
                )
                if error:
                    self._outcomes[number] = Outcome(error=error)
            for number, outcome in enumerate(self._outcomes):
                if outcome is None:
                    self._begin(number)
            self._wait(silence_s)
        finally:
            self._answerers.close()
        return [outcome or Outcome() for outcome in self._outcomes]

    def _wait(self, silence_s: float) -> None:
        """Return when all is answered, or nothing has come for so long.

        Only time in which we waited counts, not time in which nobody let us run.
        """
        sent, tries, silent_s = time.monotonic(), 1, 0.0
        while None in self._outcomes and silent_s < silence_s:
            if tries < _TRIES and time.monotonic() - sent > _AGAIN_S:
                sent, tries = time.monotonic(), tries + 1
                self._try_again()
            ready = self._selector.select(_TICK_S)
            silent_s = 0.0 if ready else silent_s + _TICK_S
            for key, _ in ready:
                key.data()

    def _begin(self, number: int) -> None:
        attempt = self._attempts[number]
        try:
            match attempt.protocol:
                case Protocol.TCP:
                    self._connect(number, socket.SOCK_STREAM)
                case Protocol.UDP:
                    self._send_datagram(number)
                case Protocol.SCTP:
                    self._send_init(number)
                case Protocol.OTHER:
                    self._send_echo(number)
        except OSError as error:
            self._outcomes[number] = Outcome(error=f"from {attempt.source}: {error.strerror}")

    def _send_datagram(self, number: int) -> None:
        sock = self._connect(number, socket.SOCK_DGRAM)
        with suppress(PermissionError):  # dropped on its way out of this very namespace
            sock.send(BYTE)

    def _send_echo(self, number: int) -> None:
        one = self._attempts[number]
        if one.via is not None:
            self._outcomes[number] = Outcome(error="a service translates no ICMP")
            return
        sock = self._namespaces.make(one.source_netns, lambda: echo_socket(one.source))
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read_echo(number, sock))
        with suppress(PermissionError):
            request = echo.request(one.source.version, number)
            sock.sendto(request, (str(one.destination), 0))

    def _read_echo(self, number: int, sock: socket.socket) -> None:
        with suppress(OSError):
            packet, peer = sock.recvfrom(PEEK_BYTES)
            one = self._attempts[number]
            is_from = peer[0].partition("%")[0] == str(one.destination)
            if is_from and echo.is_reply(one.source.version, packet, number):
                self._settle(number, is_answered=True)

    def _connect(self, number: int, kind: int) -> socket.socket:
        one = self._attempts[number]
        sock = self._namespaces.make(one.source_netns, lambda: client_socket(kind, one.source))
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(number, sock))
        with suppress(BlockingIOError):
            address, port = one.dialled
            sock.connect((str(address), port))
        return sock

    def _read(self, number: int, sock: socket.socket) -> None:
        try:
            is_answered = sock.recv(PEEK_BYTES) == BYTE
        except BlockingIOError:
            return
        except OSError:  # refused: a TCP reset, or an ICMP error
            is_answered = False
        self._settle(number, is_answered=is_answered)
        self._selector.unregister(sock)
        sock.close()

    def _acknowledged(self, netns: str, source: IPAddress, packet: sctp.Packet) -> None:
        number = packet.destination - _FIRST_PORT
        if not 0 <= number < len(self._attempts):
            return
        one = self._attempts[number]
        if (netns, (source, packet.source)) == (one.source_netns, one.dialled):
            self._settle(number, is_answered=True)

    def _settle(self, number: int, *, is_answered: bool) -> None:
        if self._outcomes[number] is None:  # of several tries, the first that is answered
            self._outcomes[number] = Outcome(is_answered=is_answered)

    def _try_again(self) -> None:
        for number, outcome in enumerate(self._outcomes):
            if outcome is None:
                self._begin(number)

    def _send_init(self, number: int) -> None:
        one = self._attempts[number]
        address, port = one.dialled
        packet = sctp.Packet(
            source=_FIRST_PORT + number,
            destination=port,
            tag=0,
            kind=sctp.INIT,
            own_tag=number + 1,
        )
        sock = self._answerers.sctp(one.source_netns, address.version)
        send_from(sock, packet.encode(), one.source, address)
