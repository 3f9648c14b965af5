"""Who keeps the webhook's certificate in its secret, in our listener and at the API server?"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from terway.controlplane.certificates import (
    Bundle,
    Pair,
    expires_at,
    next_bundle,
    read_bundle,
    write_bundle,
)
from terway.controlplane.entries import Place
from terway.controlplane.hooks import ensure_hooks
from terway.controlplane.known import KnownNetworkings
from terway.kube.client import KubeClient
from terway.kube.resource import Resource
from terway.model.errors import ConflictError, VpcError
from terway.podeni.settings import Settings

_log = structlog.get_logger("webhook")

LOOK_EVERY_S = 60.0
_AFTER_FAILURE_S = 5.0

SECRETS: Resource[dict[str, Any]] = Resource(
    group="",
    version="v1",
    plural="secrets",
    kind="Secret",
    namespaced=True,
    read_as=dict[str, Any],
)


class CertKeeper:
    """The certificate of one instance, which is every instance's. `context` is the listener's."""

    def __init__(
        self,
        client: KubeClient,
        place: Place,
        *,
        names: tuple[str, ...],
        networkings: KnownNetworkings,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._place = place
        self._names = names
        self._networkings = networkings
        self._settings = settings
        self._clock = clock
        self._shown: Pair | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.is_known = False  # by the API server
        self.fails_closed = False  # for pods that ask for a network

    @property
    def secret(self) -> str:
        """Return the name of the secret."""
        return f"{self._place.name}-webhook-cert"

    @property
    def expires_at(self) -> float:
        """Return when the certificate that is shown ends, in seconds since the epoch."""
        return expires_at(self._shown) if self._shown is not None else 0.0

    async def load(self) -> Bundle:
        """Show the certificate of the secret from now on, a new one if it is time for that."""
        bundle = await self._agreed()
        if bundle.serving != self._shown:
            _show(self.context, bundle.serving)
            self._shown = bundle.serving
            _log.info("webhook.certificate", expires_at=self.expires_at, secret=self.secret)
        return bundle

    async def run(self) -> None:
        """Keep secret, listener and configurations current, until cancelled."""
        with self._networkings.subscribe() as changes:
            await self._networkings.listed()
            while True:
                try:
                    await self._register(await self.load())
                except VpcError as error:
                    _log.warning("webhook.not_current", error=str(error))
                    await asyncio.sleep(_AFTER_FAILURE_S)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await anext(changes)

    async def _register(self, bundle: Bundle) -> None:
        chosen = self._networkings.now()
        self.fails_closed = await ensure_hooks(
            self._client,
            self._place,
            bundle.ca_pem,
            networkings=chosen,
            settings=self._settings,
        )
        self._networkings.tell(chosen)
        if not self.is_known:
            self.is_known = True
            _log.info("webhook.registered", fails_closed=self.fails_closed)

    async def _agreed(self) -> Bundle:
        namespace = self._place.namespace
        while True:
            found = await self._client.get(SECRETS, self.secret, namespace=namespace)
            bundle = read_bundle(_decoded(found.get("data") or {})) if found is not None else None
            wanted = next_bundle(bundle, self._names, now=self._clock())
            if wanted == bundle:
                return wanted
            data = {
                name: base64.b64encode(text.encode()).decode()
                for name, text in write_bundle(wanted).items()
            }
            try:
                if found is None:
                    metadata = {"name": self.secret, "namespace": namespace}
                    body = {"metadata": metadata, "type": "kubernetes.io/tls", "data": data}
                    await self._client.create(SECRETS, body)
                else:
                    await self._client.update(SECRETS, {**found, "data": data})
            except ConflictError:
                continue  # another instance was faster: take what it has made
            return wanted


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64decode(held).decode(errors="replace") for name, held in data.items()}


def _show(context: ssl.SSLContext, pair: Pair) -> None:
    # OpenSSL by way of Python takes the pair only from a file; this one is 0600 and soon gone.
    # Handshakes from now on have the new one; connections that are open stay.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pair.cert_pem + pair.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
