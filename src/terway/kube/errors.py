"""Which of our errors is an answer of the API server?

404 is not here to say whether it is an error: `get` and `delete` make it None and False. To
everybody else it means that what the plan assumed is not there (ConflictError).
"""

from __future__ import annotations

import msgspec

from terway.model.errors import ConflictError, ThrottledError, TransientError, UsageError, VpcError

GONE = 410
_NOT_FOUND = 404
_CONFLICT = 409
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408


class StatusDetails(msgspec.Struct, kw_only=True, rename="camel", gc=False):
    """`details` of a Status, as far as we act on them."""

    retry_after_seconds: int = 0


class Status(msgspec.Struct, kw_only=True, rename="camel", gc=False):
    """A meta/v1 Status: how the API server refuses."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


def read_status(code: int, body: bytes) -> Status:
    """Return the Status in `body`; of a proxy's or a broken body, one that quotes its text."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        status = Status(message=body[:200].decode("utf-8", "replace").strip())
    status.code = status.code or code
    return status


def translate(status: Status, *, tried: str, retry_after_s: float | None = None) -> VpcError:
    """Return the error for a refusal. `tried` is the request, as in ``patch pods/a of ns``."""
    text = f"{tried}: {status.code} {status.reason}: {status.message}".rstrip(": ")
    if status.code == _TOO_MANY_REQUESTS:
        wait_s = retry_after_s or float(status.details.retry_after_seconds if status.details else 0)
        return ThrottledError(text, retry_after_s=wait_s or 1.0, code=status.reason)
    if status.code == _REQUEST_TIMEOUT or status.code >= 500:
        return TransientError(text, code=status.reason)
    if status.code in (_NOT_FOUND, _CONFLICT, GONE):
        return ConflictError(text, code=status.reason)
    return UsageError(text, code=status.reason)


def is_raced(error: VpcError) -> bool:
    """Say whether `error` means that somebody else wrote the object meanwhile (409)."""
    return isinstance(error, ConflictError) and error.code == "Conflict"


def is_expired(error: VpcError) -> bool:
    """Say whether `error` means "list again": the resourceVersion or page is too old (410)."""
    return isinstance(error, ConflictError) and error.code in ("Expired", "Gone")


def lacks_rights(error: VpcError) -> bool:
    """Say whether `error` means that a role is missing, or is not known to the server yet."""
    return isinstance(error, UsageError) and error.code in ("Forbidden", "Unauthorized")
