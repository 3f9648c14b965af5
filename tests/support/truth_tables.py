"""The truth tables of policy: written by hand from the API's text, short, and read here.

A table is a state of one small cluster (`world.yaml`) with policies, and rows such as

    shop/web -> pay/api 8083/udp v6 via deny   ingress rule by p#0

source, destination, port (TCP unless it says so; `icmp` has none), what a probe may add, the
verdict (`error` where there is none), and what must have been the reason on one side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from terway.policy.reading.cases import Case, parse_case

FOLDER = Path(__file__).parent.parent / "data" / "policy"
_VERSIONS = {
    "cluster": ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
    "admin": ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
    "baseline": ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"),
}
_ROW = re.compile(
    r"(?P<source>\S+) -> (?P<to>\S+) (?P<port>\w+)(/(?P<protocol>\w+))?"
    r"( v(?P<family>[46]))?( (?P<via>via))?( domain=(?P<domain>\S+))?"
    r" (?P<expect>allow|deny|error)"
    r"(\s+(?P<side>ingress|egress) (?P<because>[a-z-]+)( by (?P<policy>[\w-]+)(#(?P<rule>\d+))?)?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What must be said on one side; empty and None are not asked."""

    side: str = ""
    because: str = ""
    policy: str = ""
    rule: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: a case of one step, and the reason that goes with each of its probes."""

    file: str
    name: str
    case: Case
    rows: tuple[str, ...]
    reasons: tuple[Reason, ...]


@cache
def truth_tables() -> tuple[Table, ...]:
    """Return all tables."""
    return tuple(_tables())


def _tables() -> Iterator[Table]:
    world = yaml.safe_load((FOLDER / "world.yaml").read_text())
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name == "world.yaml":
            continue
        for raw in yaml.safe_load(path.read_text()):
            yield _table(path.stem, world, raw)


def _table(file: str, world: dict[str, Any], raw: dict[str, Any]) -> Table:
    rows = [_row(row) for row in raw["rows"]]
    case = {
        **world,
        "name": raw["name"],
        "pods": world["pods"] + raw.get("pods", []),
        "policies": [_manifest(key, spec) for key, spec in raw.get("policies", {}).items()],
        "probes": [_probe(row) for row in rows],
    }
    return Table(
        file=file,
        name=raw["name"],
        case=parse_case(case),
        rows=tuple(raw["rows"]),
        reasons=tuple(_reason(row) for row in rows),
    )


def _manifest(key: str, spec: dict[str, Any]) -> dict[str, Any]:
    where, name = key.split("/")
    if where in _VERSIONS:
        version, kind = _VERSIONS[where]
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": where, "name": name},
        "spec": spec,
    }


def _row(text: str) -> dict[str, str]:
    match = _ROW.fullmatch(text.strip())
    assert match is not None, f"no row of a truth table: {text}"
    return {key: value for key, value in match.groupdict().items() if value is not None}


def _probe(row: dict[str, str]) -> dict[str, object]:
    probe: dict[str, object] = {"from": row["source"], "to": row["to"], "expect": row["expect"]}
    if row["port"] == "icmp":
        probe["protocol"] = "ICMP"
    else:
        probe |= {"port": int(row["port"]), "protocol": row.get("protocol", "tcp").upper()}
    if "family" in row:
        probe["family"] = int(row["family"])
    if "via" in row:
        probe["via"] = {"vip": "172.21.0.10", "port": 80}
    if "domain" in row:
        probe["domain"] = row["domain"]
    return probe


def _reason(row: dict[str, str]) -> Reason:
    return Reason(
        side=row.get("side", ""),
        because=row.get("because", ""),
        policy=row.get("policy", ""),
        rule=int(row["rule"]) if "rule" in row else None,
    )
