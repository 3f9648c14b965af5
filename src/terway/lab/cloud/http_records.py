"""What does the cloud keep of HTTP and HTTPS listeners, and of certificates? Frozen records.

Source: OpenAPI SLB 2014-05-15; defaults and ranges are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.lab.cloud.records import Tags

NO_PORT = -520  # what CLB says for the port of health checks that is the backend's own


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListenerRecord:
    """What is an HTTP or HTTPS listener's own."""

    sticky_kind: str = ""  # "insert", "server"; empty: off
    cookie: str = ""
    cookie_timeout_s: int = 0
    idle_s: int = 15
    request_s: int = 60
    tells_client: bool = True  # X-Forwarded-For
    tells_protocol: bool = False
    tells_port: bool = False
    tells_client_port: bool = False
    tells_id: bool = False  # SLB-ID
    tells_address: bool = False  # SLB-IP
    redirect_port: int = 0  # HTTP: each request is led on to HTTPS there
    certificate_id: str = ""  # HTTPS, as the next ones
    tls_policy: str = "tls_cipher_policy_1_0"
    speaks_http2: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """A server certificate with its key, both PEM."""

    id: str
    serial: int
    name: str
    certificate_pem: str
    key_pem: str
    fingerprint: str
    common_name: str
    names: tuple[str, ...]
    created_at: float
    expires_at: float
    resource_group_id: str = ""
    tags: Tags = ()
