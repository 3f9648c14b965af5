"""Who opens and closes the servers of HTTP and HTTPS listeners, and gives them certificates?"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from terway.lab.balancer.carrying import is_healthy
from terway.lab.balancer.checking import Asker
from terway.lab.balancer.http_proxy import HttpProxy
from terway.lab.cloud.balancer_records import HealthSeen
from terway.lab.cloud.balancer_view import ForwardingListener
from terway.lab.cloud.http_view import RequestHandling
from terway.lab.world.sockets import listen_in
from terway.model.address import IPAddress

_WITH_1_3 = "tls_cipher_policy_1_2_strict_with_1_3"

Place = tuple[IPAddress, int, bool]
"""Address and port, and whether TLS is spoken there."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A server, and what its TLS was made of last."""

    proxy: HttpProxy
    handling: RequestHandling
    tls: ssl.SSLContext | None


class HttpProxies:
    """The servers of all listeners. The addresses must be there before their servers."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._open: dict[Place, _Open] = {}

    async def follow(self, listeners: Iterable[ForwardingListener], health: HealthSeen) -> bool:
        """Have a server for each listener and no other; return whether all of them are open."""
        wanted = {_place(one): one for one in listeners if one.requests is not None}
        for place in self._open.keys() - wanted.keys():
            await self._open.pop(place).proxy.close()
        is_whole = True
        for place, listener in wanted.items():
            if place not in self._open:
                is_whole = await self._begin(place, listener) and is_whole
            if place in self._open:
                self._tell(self._open[place], listener, health)
        return is_whole

    async def close(self) -> None:
        """Close all servers."""
        while self._open:
            _, held = self._open.popitem()
            await held.proxy.close()

    async def _begin(self, place: Place, listener: ForwardingListener) -> bool:
        handling = listener.requests
        assert handling is not None
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if place[2] else None
        try:
            if tls is not None:
                _give(tls, handling)
            sock = await listen_in(self._asker.netns_path, listener.address, listener.port)
        except OSError:  # the fabric may not have given the address yet, or OpenSSL takes no pair
            return False
        proxy = HttpProxy(self._asker, listener)
        self._open[place] = _Open(proxy=proxy, handling=handling, tls=tls)
        await proxy.open(sock, tls)
        return True

    def _tell(self, held: _Open, listener: ForwardingListener, health: HealthSeen) -> None:
        handling = listener.requests
        assert handling is not None
        if held.tls is not None and handling != held.handling:
            with suppress(ssl.SSLError):  # of a pair that OpenSSL finds too weak the old one stays
                _give(held.tls, handling)  # whoever begins from now on meets it
        held.handling = handling
        healthy = (
            one for one in listener.servers if is_healthy(listener, (one.address, one.port), health)
        )
        held.proxy.become(listener, healthy)


def _place(listener: ForwardingListener) -> Place:
    handling = listener.requests
    assert handling is not None
    return listener.address, listener.port, handling.certificate is not None


def _give(tls: ssl.SSLContext, handling: RequestHandling) -> None:
    """Have a context show a certificate. OpenSSL of today speaks no TLS before 1.2."""
    assert handling.certificate is not None
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    has_1_3 = handling.http.tls_policy == _WITH_1_3
    tls.maximum_version = ssl.TLSVersion.TLSv1_3 if has_1_3 else ssl.TLSVersion.TLSv1_2
    # Python takes the pair only from a file; this one is 0600 and soon gone.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{handling.certificate.certificate_pem}\n{handling.certificate.key_pem}")
        file.flush()
        tls.load_cert_chain(file.name)
