"""How is one call to the cloud's OpenAPI made: signed, sent, timed out, decoded?

One pooled session for all products. No retries here: whoever plans knows what a call may cost.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import aiohttp
import msgspec
from yarl import URL

from terway.cloud.credentials import CredentialsProvider
from terway.cloud.errors import translate
from terway.cloud.query import Value, canonical_query, flatten
from terway.cloud.signer import signed_headers
from terway.cloud.wire import ErrorAnswer
from terway.model.errors import TransientError, VpcError

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 20.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product's API: where it is and which version of it we speak."""

    endpoint: str  # ``http://host:port`` or ``https://host``; see `endpoint_url`
    version: str


def endpoint_url(endpoint: str) -> str:
    """Return `endpoint` with a scheme: https, unless it says http:// itself."""
    return endpoint.rstrip("/") if "://" in endpoint else f"https://{endpoint.rstrip('/')}"


class Caller(Protocol):
    """What `EcsClient` needs: one call, answered or refused. `OpenAPI` is the real one."""

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        """Call `action` and return its decoded answer."""
        ...


OnCall = Callable[[str, Mapping[str, Value], float, VpcError | None], None]
"""Hears of each call: action, parameters, seconds, and the error if there was one."""


def _always() -> None:
    pass


def _nobody(
    _action: str, _parameters: Mapping[str, Value], _elapsed_s: float, _error: VpcError | None
) -> None:
    pass


class OpenAPI:
    """Signed calls over one session. Owned by whoever opened the session."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: CredentialsProvider,
        *,
        now: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._now = now
        self._nonce = nonce
        self.on_call: OnCall = _nobody
        self.before_send: Callable[[], None] = _always
        """Asked as the last thing before a call is sent; what it raises is raised instead."""

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        """Call `action` and return its decoded answer.

        If cancelled, or on TransientError, the cloud may have acted all the same. Raises the
        classes of `terway.cloud.errors.translate`.
        """
        began = time.monotonic()
        error: VpcError | None = None
        try:
            return await self._call(product, action, parameters, answer)
        except VpcError as refusal:
            error = refusal
            raise
        finally:
            self.on_call(action, parameters, time.monotonic() - began, error)

    async def _call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        query = canonical_query(flatten(parameters))
        status, body = await self._send(product, action, query)
        if status == 200:
            return _decode(action, body, answer)
        raise self._refusal(action, status, body)

    async def _send(self, product: Product, action: str, query: str) -> tuple[int, bytes]:
        url = URL(f"{endpoint_url(product.endpoint)}/?{query}", encoded=True)
        headers = signed_headers(
            host=url.authority,
            version=product.version,
            action=action,
            query=query,
            credentials=await self._credentials.get(),
            date=datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            nonce=self._nonce(),
        )
        self.before_send()
        try:
            async with self._session.post(url, headers=headers) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise TransientError(f"{action}: no answer from {url.origin()}: {reason}") from error

    def _refusal(self, action: str, status: int, body: bytes) -> VpcError:
        try:
            said = msgspec.json.decode(body, type=ErrorAnswer)
        except msgspec.DecodeError:
            return TransientError(f"{action}: HTTP {status} with an answer that is not the cloud's")
        if said.code.startswith("InvalidSecurityToken"):
            self._credentials.forget()
        return translate(
            action=action,
            status=status,
            code=said.code,
            message=said.message,
            request_id=said.request_id,
        )


def _decode(action: str, body: bytes, answer: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as error:
        raise TransientError(f"{action}: cannot read the cloud's answer: {error}") from error


def open_session() -> aiohttp.ClientSession:
    """Return a session with the project's timeouts, for `async with`. Cookies are not kept."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
