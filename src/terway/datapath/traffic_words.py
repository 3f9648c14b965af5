"""How a traffic object is told to people."""

from __future__ import annotations

from terway.model.endpoint import Endpoint
from terway.model.programs import EdgePrograms, InnerPrograms, NodeKnowledge, PodPrograms
from terway.model.traffic import (
    Guard,
    Pacing,
    PriorityBands,
    PriorityClass,
    SharedLimit,
    TokenBucket,
    TrafficObject,
    TrunkMember,
    TrunkPrograms,
)

_KINDS: dict[type[TrafficObject], str] = {
    Guard: "guard",
    TokenBucket: "limit",
    SharedLimit: "limit",
    Pacing: "pacing",
    PriorityBands: "priorities",
    PriorityClass: "priority",
    TrunkMember: "member of the trunk",
    TrunkPrograms: "tags of members",
    PodPrograms: "data path",
    InnerPrograms: "data path",
    EdgePrograms: "data path",
    NodeKnowledge: "data path's knowledge",
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
            return _programs_value(one)


def _programs_value(one: TrafficObject) -> str:
    match one:
        case TrunkMember(vlan_id=vlan_id, mac=mac, addresses=addresses):
            return f"from {', '.join(map(str, addresses))} vlan {vlan_id} lladdr {mac}"
        case PodPrograms(endpoint=endpoint):
            return _endpoint(endpoint)
        case InnerPrograms(number=number, leg=leg):
            return f"endpoint {number}, to the node by {leg or 'itself'}"
        case NodeKnowledge(addresses=addresses, host_stack=prefixes):
            own = ", ".join(map(str, addresses))
            return f"{own}; to the node's stack: {', '.join(map(str, prefixes)) or 'nothing'}"
        case _:
            return "present"


def _endpoint(one: Endpoint) -> str:
    addresses = ", ".join(map(str, one.addresses))
    queued = " queued" if one.is_queued else ""
    metadata = "" if one.has_metadata else " without metadata"
    way = f" by link {one.eni}" if one.eni else ""
    head = f"endpoint {one.number} {one.kind.name.lower()} {addresses} lladdr {one.pod_mac}"
    return f"{head}{way} mtu {one.mtu_bytes}{queued}{metadata}"
