"""How is a webhook called? HTTPS, checked against the configuration's own CA."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.webhooks.messages import CallFailedError
from terway.lab.kubeapi.webhooks.sockets import WebhookDialer
from terway.lab.kubeapi.webhooks.targets import Target

_HTTPS = 443
_OK = 200
_ANSWER_LIMIT_BYTES = 3 * 1024 * 1024


class _FixedResolver(AbstractResolver):
    """Knows one address, whatever the name: the certificate is for the name, not for it."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the address."""
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [
            ResolveResult(
                hostname=host,
                host=self._address,
                port=self._port,
                family=family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Have nothing to close."""


async def call_webhook(
    target: Target, body: Object, *, dial: WebhookDialer, timeout_s: float
) -> bytes:
    """POST an AdmissionReview and return the answer. CallFailedError says what went wrong."""
    where = f'failed to call webhook: Post "{target.url}"'
    parts = urlsplit(target.url)
    host, port = target.address or parts.hostname or "", target.port or parts.port or _HTTPS
    try:
        async with asyncio.timeout(timeout_s):
            return await _post(target, body, host=host, port=port, dial=dial)
    except TimeoutError as error:
        raise CallFailedError(f"{where}: context deadline exceeded") from error
    except aiohttp.ClientConnectorCertificateError as error:
        why = f"tls: failed to verify certificate: x509: {error.certificate_error}"
        raise CallFailedError(f"{where}: {why}") from error
    except (aiohttp.ClientConnectorError, OSError) as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise CallFailedError(f"{where}: dial tcp {host}:{port}: connect: {reason}") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise CallFailedError(f"{where}: {str(error) or 'EOF'}") from error


async def _post(
    target: Target, body: Object, *, host: str, port: int, dial: WebhookDialer
) -> bytes:
    tls = ssl.create_default_context(cadata=target.ca_pem or None)
    dialed = [await dial(host)]
    # One connection a call: what a webhook's new certificate or address changes holds at once.
    connector = aiohttp.TCPConnector(
        ssl=tls,
        resolver=_FixedResolver(host, port),
        socket_factory=lambda info: dialed.pop(),
        force_close=True,
    )
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            return await _answer(session, target.url, msgspec.json.encode(body))
    finally:
        for unused in dialed:
            unused.close()


async def _answer(session: aiohttp.ClientSession, url: str, body: bytes) -> bytes:
    headers: dict[str, Any] = {"Content-Type": "application/json", "Accept": "application/json"}
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
        text = await answer.content.read(_ANSWER_LIMIT_BYTES)
        if answer.status != _OK:
            raise CallFailedError(f"failed to call webhook: {_status_text(answer.status, text)}")
        return text


def _status_text(code: int, body: bytes) -> str:
    if code == 404:
        return "the server could not find the requested resource"
    shown = body.decode(errors="replace")[:2048].strip()
    if code >= 500:
        return f'an error on the server ("{shown}") has prevented the request from succeeding'
    return f"the server rejected our request for an unknown reason: {code}: {shown}"
