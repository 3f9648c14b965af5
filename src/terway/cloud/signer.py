"""How is a cloud call signed? ACS3-HMAC-SHA256, RPC style.

The parameters travel in the query, the body is empty, action and version are headers. Pure: time
and nonce come in. Source: help page "Request syntax and signature method V3"; verified against
the vendor's SDK by tests/conformance/test_cloud_sdk.py, which shares the verifying server.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from terway.cloud.credentials import Credentials

ALGORITHM = "ACS3-HMAC-SHA256"
EMPTY_BODY_SHA256 = hashlib.sha256(b"").hexdigest()


def signed_headers(
    *,
    host: str,
    version: str,
    action: str,
    query: str,
    credentials: Credentials,
    date: str,
    nonce: str,
) -> dict[str, str]:
    """Return the headers of one call, its signature included.

    `date` is UTC, ``2026-01-02T03:04:05Z``; the cloud refuses one that is 15 minutes off. `nonce`
    must be new for each call, also for a repeated one.
    """
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": EMPTY_BODY_SHA256,
        "x-acs-date": date,
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if credentials.security_token:
        headers["x-acs-accesskey-id"] = credentials.access_key_id
        headers["x-acs-security-token"] = credentials.security_token
    return {**headers, "authorization": _authorization(query, headers, credentials)}


def _authorization(query: str, headers: Mapping[str, str], credentials: Credentials) -> str:
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    request = f"POST\n/\n{query}\n{lines}\n{';'.join(names)}\n{EMPTY_BODY_SHA256}"
    to_sign = f"{ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = credentials.access_key_secret.encode()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return (
        f"{ALGORITHM} Credential={credentials.access_key_id},"
        f"SignedHeaders={';'.join(names)},Signature={signature}"
    )
