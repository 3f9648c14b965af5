"""What does a listener of HTTP or HTTPS do with requests? Its own records, put together."""

from __future__ import annotations

from dataclasses import dataclass

from terway.lab.cloud.balancer_records import ClbListenerRecord
from terway.lab.cloud.balancer_state import BalancingState
from terway.lab.cloud.http_records import CertificateRecord, HttpListenerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHandling:
    """How requests are taken; with a certificate, by TLS."""

    balancer_id: str
    http: HttpListenerRecord
    certificate: CertificateRecord | None = None


def request_handling(state: BalancingState, listener: ClbListenerRecord) -> RequestHandling | None:
    """Return what a listener does with requests; None for one that forwards connections."""
    if listener.http is None:
        return None
    return RequestHandling(
        balancer_id=listener.balancer_id,
        http=listener.http,
        certificate=state.certificates.get(listener.http.certificate_id),
    )
