"""Is a call signed by who it says? ACS3-HMAC-SHA256, verified.

Written from the vendor's description and without the agent's signer, so that the two check each
other. Source: help page "Request syntax and signature method V3".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from terway.lab.cloud.keyring import AccessKey, Keyring, check_token
from terway.lab.cloud.refusal import Refusal

ALGORITHM = "ACS3-HMAC-SHA256"
MAX_CLOCK_SKEW_S = 900.0
MUST_BE_SIGNED = ("host", "x-acs-content-sha256", "x-acs-date")  # and any other x-acs- header
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{{64}})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A call as it came over the wire. Header names are in lower case."""

    method: str
    path: str
    query: str  # as sent, still encoded
    headers: Mapping[str, str]
    body: bytes = b""

    def parameters(self) -> dict[str, str]:
        """Return the parameters of query and form body, decoded."""
        form = self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        body = self.body.decode() if form else ""
        return {**dict(_pairs(self.query)), **dict(_pairs(body))}


def _pairs(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True)


class Verifier:
    """Verifies calls and remembers their nonces for as long as their dates are good."""

    def __init__(self, keyring: Keyring, *, clock: Callable[[], float]) -> None:
        self._keyring = keyring
        self._clock = clock
        self._nonces: dict[str, float] = {}  # and until when; in order of time

    def verify(self, request: SignedRequest) -> AccessKey:
        """Return the key that signed the call. Raises Refusal."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", "").strip())
        if found is None:
            message = f"The Authorization header is missing or is not {ALGORITHM}."
            raise Refusal("IncompleteSignature", message)
        key = self._keyring.find(found[1])
        if key is None:
            message = "Specified access key is not found."
            raise Refusal("InvalidAccessKeyId.NotFound", message, status=404)
        check_token(key, request.headers.get("x-acs-security-token", ""), now=self._clock())
        self._check_date(request)
        self._check_signature(request, key, names=found[2].split(";"), signature=found[3])
        self._check_nonce(request)
        return key

    def _check_date(self, request: SignedRequest) -> None:
        text = request.headers.get("x-acs-date", "")
        try:
            date = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            message = "Specified time stamp or date value is not well formatted."
            raise Refusal("InvalidTimeStamp.Format", message) from error
        if abs(date.timestamp() - self._clock()) > MAX_CLOCK_SKEW_S:
            message = "Specified time stamp or date value is expired."
            raise Refusal("InvalidTimeStamp.Expired", message)

    def _check_signature(
        self, request: SignedRequest, key: AccessKey, *, names: list[str], signature: str
    ) -> None:
        carried = {name for name in request.headers if name.startswith("x-acs-")}
        unsigned = sorted((carried | {*MUST_BE_SIGNED}) - {*names})
        if unsigned:
            raise Refusal("IncompleteSignature", f"Not signed: {', '.join(unsigned)}.")
        to_sign = f"{ALGORITHM}\n{_sha256(_canonical(request, sorted(names)).encode())}"
        expected = hmac.new(key.secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            message = (
                "Specified signature is not matched with our calculation. "
                f"server string to sign is:{to_sign}"
            )
            raise Refusal("SignatureDoesNotMatch", message)

    def _check_nonce(self, request: SignedRequest) -> None:
        nonce, now = request.headers.get("x-acs-signature-nonce", ""), self._clock()
        if not nonce:
            raise Refusal("IncompleteSignature", "The x-acs-signature-nonce header is missing.")
        while self._nonces and next(iter(self._nonces.values())) <= now:
            del self._nonces[next(iter(self._nonces))]
        if nonce in self._nonces:
            message = "Specified signature nonce was used already."
            raise Refusal("SignatureNonceUsed", message)
        self._nonces[nonce] = now + 2 * MAX_CLOCK_SKEW_S


def _canonical(request: SignedRequest, names: list[str]) -> str:
    body_hash = _sha256(request.body)
    if request.headers.get("x-acs-content-sha256", "") != body_hash:
        message = "x-acs-content-sha256 is not the hash of the body."
        raise Refusal("SignatureDoesNotMatch", message)
    query = sorted((_encode(name), _encode(value)) for name, value in _pairs(request.query))
    headers = [f"{name}:{request.headers.get(name, '').strip()}\n" for name in names]
    return "\n".join(
        (
            request.method,
            quote(request.path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            "".join(headers),
            ";".join(names),
            body_hash,
        )
    )


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
