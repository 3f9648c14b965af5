"""How does the cloud say no? One exception, with the code and HTTP status of the real answer.

Not an error of ours: it is an answer, and `Cloud` turns it into one.
Source of codes and statuses: API reference of ECS 2014-05-26 and VPC 2016-04-28, "Error codes".
"""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """The cloud's refusal of one call."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def not_found(kind: str, value: str) -> Refusal:
    """Return the refusal of an id that does not exist: ``InvalidEniId.NotFound``."""
    message = f"The specified {kind} does not exist: {value}."
    return Refusal(f"Invalid{kind}.NotFound", message, status=404)


def missing(parameter: str) -> Refusal:
    """Return the refusal of a call without a mandatory parameter."""
    message = (
        f'The input parameter "{parameter}" that is mandatory for processing this request '
        "is not supplied."
    )
    return Refusal(f"MissingParameter.{parameter}", message)


def invalid(parameter: str, reason: str) -> Refusal:
    """Return the refusal of a parameter's value."""
    return Refusal(
        "InvalidParameter", f"The specified parameter {parameter} is not valid: {reason}"
    )


def unsupported(action: str, parameter: str) -> Refusal:
    """Return the refusal of a parameter that is not emulated. The real cloud would take it."""
    message = f"The emulated cloud does not know the parameter {parameter} of {action}."
    return Refusal("UnsupportedParameter", message)


def forbidden(code: str, message: str) -> Refusal:
    """Return a refusal with status 403: states, quotas and mismatches of ECS."""
    return Refusal(code, message, status=403)
