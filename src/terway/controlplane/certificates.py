"""By which certificate does the API server know our webhook, and when does another one take over?

    (none) ──► SERVING ──a third of its life left, or other names──► ANNOUNCED ──10 min──► SERVING
               tls = A, ca = [A]                 tls = A, next = B, ca = [A, B]        tls = B

Each certificate has a CA of its own, whose key is thrown away once it has signed. A new one is
announced first: its CA is in the bundle of every API server before any instance shows it, and the
old one's stays there until it has expired. So no request is ever refused over a rotation.
All of it is in one secret, which whoever is first changes by compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE_S = 365 * 86_400.0
ANNOUNCE_S = 600.0  # instances look every minute, API servers watch
_BACKDATED_S = 3600.0  # of clocks that are behind ours
_LEFT = 1 / 3  # of its life, and a certificate is replaced

CERT, KEY, CA = "tls.crt", "tls.key", "ca.crt"
NEXT_CERT, NEXT_KEY, ANNOUNCED_AT = "next.crt", "next.key", "announced-at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, both PEM."""

    cert_pem: str
    key_pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What the secret holds. `announced_at` is seconds since the epoch, with `following`."""

    serving: Pair
    ca_pem: str
    following: Pair | None = None
    announced_at: float = 0.0


def read_bundle(data: Mapping[str, str]) -> Bundle | None:
    """Return what the (decoded) data of the secret say; None where they cannot be used."""
    if not all(data.get(name) for name in (CERT, KEY, CA)):
        return None
    following = None
    if data.get(NEXT_CERT) and data.get(NEXT_KEY):
        following = Pair(cert_pem=data[NEXT_CERT], key_pem=data[NEXT_KEY])
    bundle = Bundle(
        serving=Pair(cert_pem=data[CERT], key_pem=data[KEY]),
        ca_pem=data[CA],
        following=following,
        announced_at=_seconds(data.get(ANNOUNCED_AT, "")),
    )
    return bundle if _is_readable(bundle) else None


def write_bundle(bundle: Bundle) -> dict[str, str]:
    """Return the data of the secret, not encoded yet."""
    said = {CERT: bundle.serving.cert_pem, KEY: bundle.serving.key_pem, CA: bundle.ca_pem}
    if bundle.following is not None:
        said |= {
            NEXT_CERT: bundle.following.cert_pem,
            NEXT_KEY: bundle.following.key_pem,
            ANNOUNCED_AT: f"{bundle.announced_at:.0f}",
        }
    return said


def next_bundle(bundle: Bundle | None, names: Iterable[str], *, now: float) -> Bundle:
    """Return the bundle as it should be now; the same one if it is as it should be.

    `names` are those by which we are called: DNS names and addresses.
    """
    wanted = tuple(names)
    if bundle is None or not _is_valid(bundle.serving, now):
        ca_pem, pair = make_pair(wanted, now=now)
        return Bundle(serving=pair, ca_pem=ca_pem)
    if bundle.following is not None:
        if now < bundle.announced_at or not _is_valid(bundle.following, now):
            return replace(bundle, following=None)  # of a clock that was wrong: announce anew
        if now < bundle.announced_at + ANNOUNCE_S:
            return bundle
        return Bundle(serving=bundle.following, ca_pem=bundle.ca_pem)
    if _is_due(bundle.serving, wanted, now):
        ca_pem, pair = make_pair(wanted, now=now)
        both = _without_expired(bundle.ca_pem, now) + ca_pem
        return replace(bundle, ca_pem=both, following=pair, announced_at=now)
    kept = _without_expired(bundle.ca_pem, now)
    return bundle if kept == bundle.ca_pem else replace(bundle, ca_pem=kept)


def make_pair(names: Iterable[str], *, now: float) -> tuple[str, Pair]:
    """Return a new CA, PEM, and a certificate for `names` that it has signed."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"terway-webhook-ca-{now:.0f}")])
    ca = (
        _builder(authority, authority, ca_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "terway-webhook")])
    alternatives = x509.SubjectAlternativeName([_alternative(one) for one in names])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    cert = (
        _builder(subject, authority, key, now)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(issuer, critical=False)
        .add_extension(_usage(signs=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    return _pem(ca), Pair(cert_pem=_pem(cert), key_pem=_key_pem(key))


def expires_at(pair: Pair) -> float:
    """Return when a certificate ends, in seconds since the epoch."""
    return _certificate(pair).not_valid_after_utc.timestamp()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: float
) -> x509.CertificateBuilder:
    begin = datetime.fromtimestamp(now, UTC) - timedelta(seconds=_BACKDATED_S)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(datetime.fromtimestamp(now, UTC) + timedelta(seconds=LIFE_S))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_valid(pair: Pair, now: float) -> bool:
    # Made while a clock was ahead, it is nobody's yet; and nothing else would tell until then.
    return _certificate(pair).not_valid_before_utc.timestamp() <= now < expires_at(pair)


def _is_due(pair: Pair, names: Iterable[str], now: float) -> bool:
    has = _certificate(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    is_named = {_alternative(one) for one in names} <= set(has.value)
    return not is_named or now >= expires_at(pair) - LIFE_S * _LEFT


def _without_expired(ca_pem: str, now: float) -> str:
    moment = datetime.fromtimestamp(now, UTC)
    found = x509.load_pem_x509_certificates(ca_pem.encode())
    return "".join(_pem(one) for one in found if one.not_valid_after_utc > moment)


def _is_readable(bundle: Bundle) -> bool:
    try:
        x509.load_pem_x509_certificates(bundle.ca_pem.encode())
        for pair in filter(None, (bundle.serving, bundle.following)):
            _certificate(pair)
            serialization.load_pem_private_key(pair.key_pem.encode(), password=None)
    except (ValueError, TypeError):
        return False
    return True


def _certificate(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.cert_pem.encode())


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
