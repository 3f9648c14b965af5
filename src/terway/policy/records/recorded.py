"""A connection that was seen on a node, and what was said to it: the records of the flow log.

A record has what is needed to judge the same connection anew where nothing else is known: labels
and names of ports are those of the moment. One record is one line of JSON (`line_of`, `read_line`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from terway.model.address import IPAddress, family_of
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.model.selector import Labels
from terway.policy.cluster import NamedPort, PodKey, Protocol
from terway.policy.flow import AddressEnd, Because, End, Flow, Judgement, NodeEnd, PodEnd
from terway.policy.policies import Direction, Kind, PolicyKey

_WITH_PORTS = {one.value: one for one in Protocol if one is not Protocol.OTHER}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEnd:
    """One end. Neither pod nor node: outside. `node` is the pod's, or the one it is.

    `workload` is who made the pod ("Deployment shop"), or the pod itself.
    """

    address: IPAddress
    pod: PodKey | None = None
    workload: str = ""
    node: NodeName | None = None
    labels: Labels = field(default_factory=dict)
    namespace_labels: Labels = field(default_factory=dict)
    ports: tuple[NamedPort, ...] = ()

    def __str__(self) -> str:
        return str(self.pod or self.node or self.address)

    @property
    def owner(self) -> str:
        """Return who answers for it: a workload with its namespace, a node, or "outside"."""
        if self.pod is not None:
            return f"{self.pod.namespace}: {self.workload or f'Pod {self.pod.name}'}"
        return f"node {self.node}" if self.node else "outside"

    def end(self) -> End:
        """Return it as an end of a flow."""
        if self.pod is not None:
            return PodEnd(pod=self.pod)
        return NodeEnd(node=self.node) if self.node else AddressEnd(address=self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFlow:
    """Connections alike within a second, or one: what the kernel of `node` did with them.

    `is_allowed` is the kernel's deed. `sides` are the reasons of this node's own pods; where there
    are none that fit the deed, `note` says why. `port` is the destination's, 0 without ports.
    `sample` of N: one in N of what is allowed is recorded. `time` is RFC 3339, of the first.
    """

    time: str
    node: NodeName
    is_allowed: bool
    source: RecordedEnd
    destination: RecordedEnd
    protocol: str  # TCP, UDP, SCTP, ICMP, ICMPv6, or the number
    port: int = 0
    icmp_type: int | None = None
    sides: tuple[Judgement, ...] = ()
    note: str = ""
    interface: str = ""
    count: int = 1
    sample: int = 1

    def flow(self) -> Flow:
        """Return the connection as policies judge it."""
        source, destination = self.source.end(), self.destination.end()
        return Flow(
            source=source,
            destination=destination,
            protocol=_WITH_PORTS.get(self.protocol, Protocol.OTHER),
            port=self.port,
            family=family_of(self.destination.address),
            # A pod's packets to its own address never leave it, unless a service led them back.
            via_service=isinstance(source, PodEnd) and source == destination,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a stream of records says about itself: `lost` packets that nobody has, or a text."""

    time: str
    node: NodeName
    lost: int = 0
    text: str = ""


Line = RecordedFlow | Remark


def line_of(line: Line) -> str:
    """Return one line of JSON, without its end. What is empty is left out."""
    raw = _raw_flow(line) if isinstance(line, RecordedFlow) else _raw_remark(line)
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))


def read_line(text: str, *, where: str = "flow record") -> Line:
    """Return what a line says; unknown fields are passed over. UsageError names `where`."""
    try:
        raw = json.loads(text)
        return _read_flow(raw) if "verdict" in raw else _read_remark(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"has no field {error}" if isinstance(error, KeyError) else str(error)
        message = f"{where} is no record of terway-cli flows: {why}; write them with --write FILE"
        raise UsageError(message, field=where) from error


def _raw_remark(remark: Remark) -> dict[str, Any]:
    raw = {"time": remark.time, "node": remark.node, "lost": remark.lost, "text": remark.text}
    return {name: value for name, value in raw.items() if value}


def _raw_flow(flow: RecordedFlow) -> dict[str, Any]:
    raw = {
        "time": flow.time,
        "node": flow.node,
        "verdict": "allowed" if flow.is_allowed else "denied",
        "source": _raw_end(flow.source),
        "destination": _raw_end(flow.destination),
        "protocol": flow.protocol,
        "port": flow.port or None,
        "icmp_type": flow.icmp_type,
        "sides": [_raw_side(one) for one in flow.sides],
        "note": flow.note or None,
        "interface": flow.interface or None,
        "count": flow.count,
        "sample": flow.sample if flow.sample > 1 else None,
    }
    return {name: value for name, value in raw.items() if value is not None}


def _raw_end(end: RecordedEnd) -> dict[str, Any]:
    raw = {
        "address": str(end.address),
        "namespace": end.pod.namespace if end.pod else "",
        "pod": end.pod.name if end.pod else "",
        "workload": end.workload,
        "node": end.node,
        "labels": dict(end.labels),
        "namespace_labels": dict(end.namespace_labels),
        "ports": [
            {"name": one.name, "protocol": one.protocol.value, "port": one.port}
            for one in end.ports
        ],
    }
    return {name: value for name, value in raw.items() if value}


def _raw_side(side: Judgement) -> dict[str, Any]:
    raw = {
        "direction": side.direction.value,
        "allowed": side.is_allowed,
        "because": side.because.value,
        "policy": _raw_policy(side.policy) if side.policy else None,
        "rule": side.rule,
        "rule_name": side.rule_name or None,
        "isolating": side.isolating or None,
    }
    return {name: value for name, value in raw.items() if value is not None}


def _raw_policy(key: PolicyKey) -> dict[str, str]:
    raw = {"kind": key.kind.value, "namespace": key.namespace, "name": key.name}
    return {name: value for name, value in raw.items() if value}


def _read_remark(raw: Mapping[str, Any]) -> Remark:
    return Remark(
        time=str(raw["time"]),
        node=NodeName(str(raw.get("node", ""))),
        lost=int(raw.get("lost", 0)),
        text=str(raw.get("text", "")),
    )


def _read_flow(raw: Mapping[str, Any]) -> RecordedFlow:
    source, destination = _read_end(raw["source"]), _read_end(raw["destination"])
    pods = {Direction.EGRESS: source.pod, Direction.INGRESS: destination.pod}
    return RecordedFlow(
        time=str(raw["time"]),
        node=NodeName(str(raw.get("node", ""))),
        is_allowed={"allowed": True, "denied": False}[raw["verdict"]],
        source=source,
        destination=destination,
        protocol=str(raw["protocol"]),
        port=int(raw.get("port", 0)),
        icmp_type=raw.get("icmp_type"),
        sides=tuple(_read_sides(raw.get("sides", ()), pods)),
        note=str(raw.get("note", "")),
        interface=str(raw.get("interface", "")),
        count=int(raw.get("count", 1)),
        sample=int(raw.get("sample", 1)),
    )


def _read_end(raw: Mapping[str, Any]) -> RecordedEnd:
    name = raw.get("pod")
    return RecordedEnd(
        address=ip_address(raw["address"]),
        pod=PodKey(namespace=str(raw["namespace"]), name=str(name)) if name else None,
        workload=str(raw.get("workload", "")),
        node=NodeName(raw["node"]) if raw.get("node") else None,
        labels=dict(raw.get("labels", {})),
        namespace_labels=dict(raw.get("namespace_labels", {})),
        ports=tuple(
            NamedPort(name=one["name"], protocol=Protocol(one["protocol"]), port=int(one["port"]))
            for one in raw.get("ports", ())
        ),
    )


def _read_sides(
    raw: Iterable[Mapping[str, Any]], pods: Mapping[Direction, PodKey | None]
) -> Iterable[Judgement]:
    for one in raw:
        direction = Direction(one["direction"])
        pod = pods[direction]
        if pod is not None:
            yield Judgement(
                direction=direction,
                pod=pod,
                is_allowed=bool(one["allowed"]),
                because=Because(one["because"]),
                policy=_read_policy(one["policy"]) if "policy" in one else None,
                rule=one.get("rule"),
                rule_name=str(one.get("rule_name", "")),
                isolating=int(one.get("isolating", 0)),
            )


def _read_policy(raw: Mapping[str, str]) -> PolicyKey:
    return PolicyKey(kind=Kind(raw["kind"]), namespace=raw.get("namespace", ""), name=raw["name"])
