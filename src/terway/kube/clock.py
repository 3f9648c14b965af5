"""How does the API write the time?"""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(now: float) -> str:
    """Return seconds since the epoch as meta/v1 Time: ``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(now: float) -> str:
    """Return seconds since the epoch as meta/v1 MicroTime, which leases have."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Return the seconds since the epoch of a Time or MicroTime."""
    return datetime.fromisoformat(text).timestamp()
