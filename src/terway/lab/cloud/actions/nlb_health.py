"""NLB: health checks of server groups, as requests and answers spell them.

Source: OpenAPI NLB 2022-04-30, CreateServerGroup, HealthCheckConfig: ranges of values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from terway.lab.cloud.actions.slb_words import check_range
from terway.lab.cloud.balancer_records import HealthCheckRecord
from terway.lab.cloud.refusal import invalid

KINDS = ("tcp", "http", "udp")
CODES = ("http_2xx", "http_3xx", "http_4xx", "http_5xx")


class HealthCheckConfig(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """A health check in a request; None stays as it is."""

    health_check_enabled: bool | None = None
    health_check_type: str | None = None
    health_check_connect_port: int | None = None
    health_check_connect_timeout: int | None = None
    health_check_interval: int | None = None
    healthy_threshold: int | None = None
    unhealthy_threshold: int | None = None
    health_check_domain: str | None = None
    health_check_url: str | None = None
    http_check_method: str | None = None
    health_check_http_code: tuple[str, ...] | None = None
    health_check_req: str | None = None
    health_check_exp: str | None = None


def changed_check(check: HealthCheckRecord, said: HealthCheckConfig) -> HealthCheckRecord:
    """Return a health check with what a request says. Raises Refusal."""
    wishes: dict[str, Any] = {
        "is_on": said.health_check_enabled,
        "kind": _one_of("HealthCheckType", said.health_check_type, KINDS),
        "port": _number("HealthCheckConnectPort", said.health_check_connect_port, 0, 65535),
        "timeout_s": _number(
            "HealthCheckConnectTimeout", said.health_check_connect_timeout, 1, 300
        ),
        "interval_s": _number("HealthCheckInterval", said.health_check_interval, 1, 50),
        "healthy_after": _number("HealthyThreshold", said.healthy_threshold, 2, 10),
        "unhealthy_after": _number("UnhealthyThreshold", said.unhealthy_threshold, 2, 10),
        "domain": said.health_check_domain,
        "uri": said.health_check_url,
        "method": _one_of("HttpCheckMethod", said.http_check_method, ("get", "head")),
        "http_codes": _codes(said.health_check_http_code),
        "request": said.health_check_req,
        "expected": said.health_check_exp,
    }
    return replace(check, **{name: one for name, one in wishes.items() if one is not None})


def _one_of(parameter: str, said: str | None, known: tuple[str, ...]) -> str | None:
    if said is not None and said.lower() not in known:
        raise invalid(parameter, f"it must be one of {', '.join(known)}")
    return None if said is None else said.lower()


def _number(parameter: str, said: int | None, low: int, high: int) -> int | None:
    return None if said is None else check_range(parameter, said, low, high)


def _codes(said: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for one in said or ():
        _one_of("HealthCheckHttpCode", one, CODES)
    return said


def described_check(check: HealthCheckRecord) -> dict[str, Any]:
    """Return a health check as answers have it."""
    return {
        "HealthCheckEnabled": check.is_on,
        "HealthCheckType": check.kind.upper(),
        "HealthCheckConnectPort": check.port,
        "HealthCheckConnectTimeout": check.timeout_s,
        "HealthCheckInterval": check.interval_s,
        "HealthyThreshold": check.healthy_after,
        "UnhealthyThreshold": check.unhealthy_after,
        "HealthCheckDomain": check.domain,
        "HealthCheckUrl": check.uri,
        "HttpCheckMethod": check.method.upper(),
        "HealthCheckHttpCode": list(check.http_codes),
        "HealthCheckReq": check.request,
        "HealthCheckExp": check.expected,
    }
