"""What is in a server certificate that somebody uploads, and is the key its own?

`cryptography` is imported where it is needed: a lab without certificates starts without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING

from terway.lab.cloud.refusal import Refusal, invalid

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says of itself."""

    fingerprint: str  # SHA-1, as CLB shows it
    common_name: str
    names: tuple[str, ...]
    expires_at: float  # seconds since the epoch


def read_certificate(certificate_pem: str, key_pem: str) -> Certificate:
    """Return what a certificate says. Raises Refusal when it is none, or the key another's."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        found = x509.load_pem_x509_certificate(certificate_pem.encode())
        key = load_pem_private_key(key_pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise invalid("ServerCertificate", f"no certificate and key in PEM: {error}") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if found.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        message = "The certificate and the private key do not match."
        raise Refusal("CertificateNotMatchPrivateKey", message)
    der = found.public_bytes(Encoding.DER)
    return Certificate(
        fingerprint=sha1(der, usedforsecurity=False).hexdigest(),
        common_name=_common_name(found),
        names=_names(found),
        expires_at=found.not_valid_after_utc.timestamp(),
    )


def _common_name(found: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    said = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(said[0].value) if said else ""


def _names(found: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        said = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(one.value) for one in said)
