"""Which service account does a token stand for? JSON web tokens, signed with the cluster's key.

Bound as the real ones are: to the account's uid, and to a pod where the request says so; with the
account or the pod the token ends. Signed with HMAC, not RSA: nobody but this server checks them.
Source: k8s.io/kubernetes pkg/serviceaccount/claims.go; RFC 7519.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from terway.kube.clock import format_time
from terway.lab.kubeapi.causes import invalid_value
from terway.lab.kubeapi.errors import ApiError, bad_request, conflict, invalid, not_found
from terway.lab.kubeapi.objects import Object, name_of, namespace_of, read_path, uid_of
from terway.lab.kubeapi.rbac.users import Identity, service_account, split_service_account
from terway.lab.kubeapi.resources import NODE, POD, SECRET, SERVICE_ACCOUNT
from terway.lab.kubeapi.store import Key, Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
_DEFAULT_S, _SHORTEST_S, _LONGEST_S = 3600, 600, 1 << 32
_BOUND = {("v1", "Pod"): POD, ("v1", "Secret"): SECRET, ("v1", "Node"): NODE}
_HEADER = {"alg": "HS256", "kid": "terway-lab"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Issues tokens and reads them. `clock` is seconds since the epoch, `key` the secret."""

    store: Store
    clock: Callable[[], float]
    key: bytes

    def issue(self, account: Object, request: Mapping[str, Any]) -> Object:
        """Answer a TokenRequest. ApiError 404, 409 or 422 for one that cannot be."""
        wanted_s = read_path(request, "spec.expirationSeconds", _DEFAULT_S)
        _check_lifetime(account, wanted_s)
        now = int(self.clock())
        claims: dict[str, Any] = {
            "aud": read_path(request, "spec.audiences") or [ISSUER],
            "exp": now + wanted_s,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "sub": service_account(namespace_of(account), name_of(account)).name,
            "kubernetes.io": self._private_claims(
                account, read_path(request, "spec.boundObjectRef")
            ),
        }
        spec = {**(request.get("spec") or {}), "audiences": claims["aud"]}
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name_of(account), "namespace": namespace_of(account)},
            "spec": {**spec, "expirationSeconds": wanted_s},
            "status": {
                "token": self._sign(claims),
                "expirationTimestamp": format_time(now + wanted_s),
            },
        }

    def _private_claims(self, account: Object, bound: Mapping[str, Any] | None) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "namespace": namespace_of(account),
            "serviceaccount": {"name": name_of(account), "uid": uid_of(account)},
        }
        if bound:
            claims[str(bound.get("kind", "")).lower()] = self._bound_object(account, bound)
        return claims

    def _bound_object(self, account: Object, bound: Mapping[str, Any]) -> dict[str, str]:
        kind = _BOUND.get((str(bound.get("apiVersion", "")), str(bound.get("kind", ""))))
        if kind is None:
            raise bad_request("cannot bind token to this kind: only Pod, Secret and Node")
        name = str(bound.get("name", ""))
        held = self.store.get(kind, Key(namespace_of(account) if kind.namespaced else "", name))
        if held is None:
            raise not_found(kind, name)
        if bound.get("uid", uid_of(held.object)) != uid_of(held.object):
            why = (
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID "
                f"in record. The object might have been deleted and then recreated"
            )
            raise conflict(kind, name, why)
        return {"name": name, "uid": uid_of(held.object)}

    def _sign(self, claims: Mapping[str, Any]) -> str:
        signed = f"{_encoded(_HEADER)}.{_encoded(claims)}"
        return f"{signed}.{_base64(self._mac(signed))}"

    def _mac(self, signed: str) -> bytes:
        return hmac.new(self.key, signed.encode(), hashlib.sha256).digest()

    def read(self, token: str) -> Identity | None:
        """Return whose token this is; None for a stranger's, a stale or an orphaned one."""
        signed, _, mac = token.rpartition(".")
        if not token.isascii() or signed.count(".") != 1:
            return None
        if not hmac.compare_digest(mac, _base64(self._mac(signed))):
            return None
        claims = json.loads(_unbase64(signed.partition(".")[2]))
        if claims["exp"] <= self.clock() or ISSUER not in claims["aud"]:
            return None
        return self._identity(claims)

    def _identity(self, claims: Mapping[str, Any]) -> Identity | None:
        named = split_service_account(claims["sub"])
        if named is None:
            return None
        namespace, name = named
        private = claims["kubernetes.io"]
        uid = private["serviceaccount"]["uid"]
        account = self.store.get(SERVICE_ACCOUNT, Key(namespace, name))
        if account is None or uid_of(account.object) != uid:
            return None
        extra: dict[str, tuple[str, ...]] = {}
        for resource in _BOUND.values():
            bound = private.get(resource.singular)
            if bound is None:
                continue
            key = Key(namespace if resource.namespaced else "", bound["name"])
            held = self.store.get(resource, key)
            if held is None or uid_of(held.object) != bound["uid"]:
                return None
            prefix = f"authentication.kubernetes.io/{resource.singular}"
            extra |= {f"{prefix}-name": (bound["name"],), f"{prefix}-uid": (bound["uid"],)}
        return service_account(namespace, name, uid=uid, extra=extra)


def _check_lifetime(account: Object, wanted_s: int) -> None:
    why = ""
    if wanted_s < _SHORTEST_S:
        why = "may not specify a duration less than 10 minutes"
    elif wanted_s > _LONGEST_S:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        cause = invalid_value("spec.expirationSeconds", wanted_s, why)
        raise _invalid_request(name_of(account), cause)


def _invalid_request(name: str, cause: Any) -> ApiError:
    error = invalid(SERVICE_ACCOUNT, name, (cause,))
    text = error.message.replace("ServiceAccount", "TokenRequest.authentication.k8s.io", 1)
    details = {**error.details, "group": "authentication.k8s.io", "kind": "TokenRequest"}
    return ApiError(error.code, error.reason, text, details=details)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())
