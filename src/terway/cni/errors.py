"""How a failure is told to the container runtime: the CNI error object and its codes."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from terway.cni.protocol import Reply
from terway.model.errors import CapacityError, TransientError, UsageError, VpcError


class Code(IntEnum):
    """Error codes: below 100 those of the specification, from 100 on our own.

    Source: SPEC.md 1.1.0, "Error"; 8 is what the Go helper `skel` uses.
    """

    INCOMPATIBLE_VERSION = 1
    UNKNOWN_CONTAINER = 3  # the runtime need not DEL: only where nothing was set up
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    CANNOT_DECODE = 6
    INVALID_CONFIG = 7
    INVALID_NETNS = 8
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    LIMITED_CONNECTIVITY = 51
    BUG = 100
    INTERFACE_EXISTS = 101
    CHECK_FAILED = 102


class CniError(UsageError):
    """A failure with the code that the runtime is to see."""

    def __init__(self, code: Code, message: str, *, details: str = "", field: str = "") -> None:
        super().__init__(message, field=field)
        self.cni_code = code
        self.details = details


def code_of(error: VpcError) -> Code:
    """Return the CNI code of any error of ours."""
    match error:
        case CniError(cni_code=code):
            return code
        case UsageError():
            return Code.INVALID_CONFIG
        case CapacityError() | TransientError():
            return Code.TRY_AGAIN_LATER
        case _:
            return Code.BUG


def error_reply(error: VpcError, version: str) -> Reply:
    """Return the reply that tells the runtime of `error`, in the words of `version`."""
    wire: dict[str, str | int] = {
        "cniVersion": version,
        "code": int(code_of(error)),
        "msg": str(error),
    }
    details = error.details if isinstance(error, CniError) else error.code
    if details:
        wire["details"] = details
    return Reply(exit_code=1, body=msgspec.json.encode(wire) + b"\n")
