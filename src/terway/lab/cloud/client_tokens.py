"""Has this call been made before? Client tokens make a repeated call the same call.

The same token with the same parameters gets the first answer again and changes nothing. A call that
was refused is forgotten, so that it may be repeated, unless its token was burnt by a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.lab.cloud.action import Answer
from terway.lab.cloud.refusal import Refusal, forbidden, invalid

REMEMBERED_S = 86400.0
MAX_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    parameters: Mapping[str, str]
    answer: Answer | None  # None: burnt
    until: float


class ClientTokens:
    """The tokens of the last day."""

    def __init__(self) -> None:
        self._remembered: dict[tuple[str, str], _Remembered] = {}  # in order of time

    def recall(self, action: str, parameters: Mapping[str, str], *, now: float) -> Answer | None:
        """Return the answer of the same call, None when there was none. Raises Refusal."""
        token = parameters.get("ClientToken", "")
        if len(token) > MAX_LENGTH or not token.isascii():
            raise invalid("ClientToken", f"at most {MAX_LENGTH} ASCII characters")
        known = self._remembered.get((action, token))
        if not token or known is None or known.until <= now:
            return None
        if known.parameters != parameters:
            message = (
                "Request uses a client token in a previous request but is not identical to it."
            )
            raise Refusal("IdempotentParameterMismatch", message)
        if known.answer is None:
            message = f"The first call with the client token {token} failed; use a new one."
            raise forbidden("IdempotentFailed", message)
        return known.answer

    def remember(
        self, action: str, parameters: Mapping[str, str], answer: Answer | None, *, now: float
    ) -> None:
        """Remember the answer of a call, or None to burn its token."""
        token = parameters.get("ClientToken", "")
        if not token:
            return
        while self._remembered and next(iter(self._remembered.values())).until <= now:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[action, token] = _Remembered(
            parameters=dict(parameters), answer=answer, until=now + REMEMBERED_S
        )
