"""How does the API server refuse? As meta/v1 Status, in the words kubectl users know.

Source: k8s.io/apimachinery pkg/api/errors, v1.32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One refused field of an object. `reason` is a CauseType: FieldValueRequired, …"""

    field: str
    reason: str
    message: str


class ApiError(Exception):
    """A refusal; `status()` is the body that goes with HTTP status `code`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after_s = retry_after_s

    def status(self) -> Object:
        """Return the Status object."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        details = dict(self.details)
        if self.retry_after_s:
            details["retryAfterSeconds"] = self.retry_after_s
        if details:
            body["details"] = details
        return {**body, "code": self.code}


def _details(resource: ResourceDef, name: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: ResourceDef, name: str) -> ApiError:
    """Return 404: no object of this name."""
    text = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", text, details=_details(resource, name))


def unknown_path() -> ApiError:
    """Return 404: no such resource at all."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: ResourceDef, name: str) -> ApiError:
    """Return 409: the name is taken."""
    text = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", text, details=_details(resource, name))


def conflict(resource: ResourceDef, name: str, why: str = "") -> ApiError:
    """Return 409: somebody else was faster, or the precondition does not hold."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    text = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", text, details=_details(resource, name))


def bad_request(message: str) -> ApiError:
    """Return 400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """Return 401: who are you."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: ResourceDef, name: str, why: str) -> ApiError:
    """Return 403: known, and not allowed."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    text = f"{subject} is forbidden: {why}"
    return ApiError(403, "Forbidden", text, details=_details(resource, name))


def method_not_allowed() -> ApiError:
    """Return 405: the resource has no such verb."""
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """Return 415: the body's format is not one of `accepted`."""
    text = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return ApiError(415, "UnsupportedMediaType", text)


def not_acceptable(offered: Sequence[str]) -> ApiError:
    """Return 406: no format of ours is wanted."""
    text = "only the following media types are accepted: " + ", ".join(offered)
    return ApiError(406, "NotAcceptable", text)


def expired(message: str) -> ApiError:
    """Return 410: that revision is forgotten; list again."""
    return ApiError(410, "Expired", message)


def too_large_version(wanted: int, current: int) -> ApiError:
    """Return 504: a revision from the future (of another life of this server)."""
    text = f"Too large resource version: {wanted}, current: {current}"
    details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": text}]}
    return ApiError(504, "Timeout", text, details=details, retry_after_s=1)


def invalid(resource: ResourceDef, name: str, causes: Sequence[Cause]) -> ApiError:
    """Return 422: the object breaks the rules of its kind, each named by its field."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = {"name": name, "group": resource.group, "kind": resource.kind}
    return ApiError(
        422,
        "Invalid",
        f'{kind} "{name}" is invalid: {text}',
        details={
            **{key: value for key, value in details.items() if value},
            "causes": [
                {"reason": cause.reason, "message": cause.message, "field": cause.field}
                for cause in causes
            ],
        },
    )
