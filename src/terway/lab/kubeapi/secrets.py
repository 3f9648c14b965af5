"""What is a Secret: how does its text become data, and what must be in it?

Source: k8s.io/kubernetes pkg/apis/core/v1/conversion.go (stringData), pkg/apis/core/validation.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from terway.lab.kubeapi.causes import forbidden_value, invalid_value, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object

_NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def secret_defaults(secret: Object) -> Object:
    """Return the Secret with its type, and stringData where it belongs."""
    texts = secret.get("stringData") or {}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    kept = {name: held for name, held in secret.items() if name != "stringData"}
    data = {**(secret.get("data") or {}), **encoded}
    return {"type": "Opaque", **kept, **({"data": data} if data else {})}


def validate_secret(secret: Object) -> Iterator[Cause]:
    """Yield what a Secret of its type lacks."""
    data = secret.get("data") or {}
    for name in _NEEDED.get(secret["type"], ()):
        if name not in data:
            yield required(f"data[{name}]")


def validate_secret_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield what may not be changed."""
    if old["type"] != new["type"]:
        yield invalid_value("type", new["type"], "field is immutable")
    if old.get("immutable"):
        why = "field is immutable when `immutable` is set"
        if not new.get("immutable"):
            yield forbidden_value("immutable", why)
        if old.get("data") != new.get("data"):
            yield forbidden_value("data", why)
