"""What does the server send to a webhook, and what may it answer? admission.k8s.io/v1.

Source: k8s.io/api/admission/v1 types.go; k8s.io/apiserver pkg/admission/plugin/webhook/request
and pkg/admission/plugin/webhook/errors.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.resources import ResourceDef
from terway.lab.kubeapi.webhooks.hooks import Match
from terway.lab.kubeapi.webhooks.reviews import Review

_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
_LEAST_REFUSAL = 400


class CallFailedError(Exception):
    """A webhook could not be asked, or its answer is none: its failure policy decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a webhook said: a patch (RFC 6902) or none, a refusal or none, and warnings."""

    patch: list[Any]
    refusal: Mapping[str, Any] | None
    warnings: tuple[str, ...]


def admission_review(review: Review, match: Match, user: Identity, uid: str) -> Object:
    """Return the AdmissionReview to send."""
    asked, made = match.resource, review.resource
    request: Object = {
        "uid": uid,
        "kind": _kind(asked),
        "resource": _resource(asked),
        "requestKind": _kind(made),
        "requestResource": _resource(made),
        "namespace": review.namespace,
        "name": review.name,
        "operation": review.operation,
        "userInfo": _user(user),
        "object": _as_version(review.object, made, asked),
        "oldObject": _as_version(review.old, made, asked),
        "dryRun": review.dry_run,
        "options": {"kind": _OPTIONS[review.operation], "apiVersion": "meta.k8s.io/v1"},
    }
    if review.subresource:
        request |= dict.fromkeys(("subResource", "requestSubResource"), review.subresource)
    kept = {name: held for name, held in request.items() if held != ""}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": kept}


def _kind(row: ResourceDef) -> Object:
    return {"group": row.group, "version": row.version, "kind": row.kind}


def _resource(row: ResourceDef) -> Object:
    return {"group": row.group, "version": row.version, "resource": row.plural}


def _user(user: Identity) -> Object:
    held: Object = {"username": user.name, "groups": user.groups}
    if user.uid:
        held["uid"] = user.uid
    if user.extra:
        held["extra"] = dict(user.extra)
    return held


def _as_version(obj: Object | None, made: ResourceDef, asked: ResourceDef) -> Object | None:
    if obj is None or made is asked:
        return obj
    return {**obj, "apiVersion": asked.api_version}


def read_verdict(body: bytes, uid: str) -> Verdict:
    """Return what a webhook answered. CallFailedError for what is no answer to `uid`."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise CallFailedError(f"couldn't get version/kind; json parse error: {error}") from error
    response = answer.get("response")
    if answer.get("kind") != "AdmissionReview" or not isinstance(response, dict):
        raise CallFailedError("webhook response has no response of an AdmissionReview")
    if response.get("uid") != uid:
        got = response.get("uid", "")
        raise CallFailedError(f'expected response.uid="{uid}", got "{got}"')
    refusal = None if response.get("allowed") else response.get("status") or {}
    warnings = tuple(map(str, response.get("warnings") or ()))
    return Verdict(patch=_patch(response), refusal=refusal, warnings=warnings)


def _patch(response: Mapping[str, Any]) -> list[Any]:
    text = response.get("patch")
    if not text:
        return []
    if response.get("patchType") != "JSONPatch":
        got = response.get("patchType", "")
        raise CallFailedError(f'webhook returned response.patch with patchType "{got}"')
    try:
        return msgspec.json.decode(base64.b64decode(text), type=list[Any])
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise CallFailedError(f"webhook returned an invalid patch: {error}") from error


def refusal_of(hook: str, status: Mapping[str, Any]) -> ApiError:
    """Return the refusal that the client gets, in the words of webhook and server."""
    denied = f'admission webhook "{hook}" denied the request'
    why = status.get("message") or status.get("reason")
    text = f"{denied}: {why}" if why else f"{denied} without explanation"
    code = max(int(status.get("code") or 0), _LEAST_REFUSAL)
    details = dict(status.get("details") or {})
    return ApiError(code, str(status.get("reason") or ""), text, details=details)


def failure_of(hook: str, why: str) -> ApiError:
    """Return what the client gets when a webhook that must be asked cannot be."""
    text = f'Internal error occurred: failed calling webhook "{hook}": {why}'
    cause = text.removeprefix("Internal error occurred: ")
    return ApiError(500, "InternalError", text, details={"causes": [{"message": cause}]})
