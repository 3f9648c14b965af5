"""How a traffic object is told to people."""

from __future__ import annotations

from terway.model.traffic import (
    Guard,
    Pacing,
    PriorityBands,
    PriorityClass,
    SharedLimit,
    TokenBucket,
    TrafficObject,
)

_KINDS: dict[type[TrafficObject], str] = {
    Guard: "guard",
    TokenBucket: "limit",
    SharedLimit: "limit",
    Pacing: "pacing",
    PriorityBands: "priorities",
    PriorityClass: "priority",
}


def traffic_name(one: TrafficObject) -> str:
    """Return what it is and where."""
    return f"{_KINDS.get(type(one), 'traffic control')} dev {one.link}"


def traffic_value(one: TrafficObject) -> str:
    """Return what it does, in the words of tc(8) where tc has words."""
    match one:
        case Guard(mac=mac, addresses=addresses):
            return f"from {', '.join(map(str, addresses))} lladdr {mac} only"
        case TokenBucket(rate_bytes_s=rate, burst_bytes=burst, limit_bytes=limit):
            return f"tbf rate {8 * rate}bit burst {burst}b limit {limit}b"
        case SharedLimit(direction=direction, bucket=bucket):
            return f"{direction.value} by {bucket.link}, {traffic_value(bucket)}"
        case Pacing(rate_bytes_s=rate):
            return f"fq and departure times at {8 * rate}bit"
        case PriorityClass(source=source, priority=priority):
            return f"from {source} {priority.value}"
        case _:
            return "present"
