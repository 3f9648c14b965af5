"""Where is a webhook? At a URL, or at a ready endpoint of a Service."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terway.lab.kubeapi.objects import Object, labels_of, read_path
from terway.lab.kubeapi.resources import ENDPOINT_SLICE, SERVICE
from terway.lab.kubeapi.store import Key, Store
from terway.lab.kubeapi.webhooks.messages import CallFailedError

_HTTPS = 443
_SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A webhook's URL, and where to connect for it if not to the URL's own host and port."""

    url: str
    ca_pem: str
    address: str = ""
    port: int = 0


def target_of(store: Store, config: Mapping[str, Any], *, timeout_s: int) -> Target:
    """Return where to ask. CallFailedError when the Service has nobody who is ready."""
    ca_pem = _ca(config)
    query = f"timeout={timeout_s}s"
    if url := config.get("url"):
        return Target(url=f"{url}{'&' if '?' in url else '?'}{query}", ca_pem=ca_pem)
    service = config["service"]
    name, namespace = service["name"], service["namespace"]
    number = service.get("port") or _HTTPS
    path = "/" + str(service.get("path") or "").lstrip("/")
    address, port = _endpoint(store, Key(namespace, name), number)
    url = f"https://{name}.{namespace}.svc:{number}{path}?{query}"
    return Target(url=url, ca_pem=ca_pem, address=address, port=port)


def _ca(config: Mapping[str, Any]) -> str:
    try:
        return base64.b64decode(config.get("caBundle") or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        why = "unable to load root certificates: unable to parse bytes as PEM block"
        raise CallFailedError(why) from error


def _endpoint(store: Store, key: Key, number: int) -> tuple[str, int]:
    service = store.get(SERVICE, key)
    if service is None:
        raise CallFailedError(f'failed to call webhook: service "{key.name}" not found')
    ports: list[Object] = read_path(service.object, "spec.ports", [])
    port = next((held for held in ports if held["port"] == number), None)
    if port is None:
        why = f'no service port {number} found for service "{key.name}"'
        raise CallFailedError(f"failed to call webhook: {why}")
    found = next(_ready(store, key, str(port.get("name") or "")), None)
    if found is None:
        why = f'no endpoints available for service "{key.name}"'
        raise CallFailedError(f"failed to call webhook: {why}")
    return found


def _ready(store: Store, key: Key, port_name: str) -> Iterator[tuple[str, int]]:
    for held in store.items(ENDPOINT_SLICE, key.namespace):
        if labels_of(held.object).get(_SERVICE_NAME) != key.name:
            continue
        for port in held.object.get("ports") or ():
            if (port.get("name") or "") != port_name:
                continue
            for endpoint in held.object.get("endpoints") or ():
                if read_path(endpoint, "conditions.ready", True):
                    yield endpoint["addresses"][0], port["port"]
