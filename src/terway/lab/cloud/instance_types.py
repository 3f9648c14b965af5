"""What does each instance type allow? A table of real figures, empty where nobody published one.

An unknown limit is None: it is left out of answers, and a call whose outcome would depend on it
is refused by name. Nothing is guessed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """One type, named as DescribeInstanceTypes names it (snake case). None: not known."""

    id: str
    cpu_core_count: int
    memory_gib: float
    eni_quantity: int
    eni_private_ip_address_quantity: int | None = None
    eni_ipv6_address_quantity: int | None = None
    eni_trunk_supported: bool | None = None
    eni_total_quantity: int | None = None
    bandwidth_gbps: float | None = None
    eri_quantity: int | None = None

    @property
    def family(self) -> str:
        """Return the family: ``ecs.g7`` of ``ecs.g7.xlarge``."""
        return self.id.rpartition(".")[0]


Catalogue = Mapping[str, InstanceType]


def read_catalogue(more: Iterable[InstanceType] = ()) -> Catalogue:
    """Return the published types and `more`, which win."""
    text = files("terway.capacity").joinpath("instance_types.tsv").read_text()
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    rows = csv.DictReader(lines, delimiter="\t")
    return {kind.id: kind for kind in (*map(_parse, rows), *more)}


def _parse(row: Mapping[str, str]) -> InstanceType:
    trunk = row["eni_trunk_supported"]
    bandwidth = row["base_bandwidth_gbps"]
    return InstanceType(
        id=row["instance_type"],
        cpu_core_count=int(row["vcpu"]),
        memory_gib=float(row["memory_gib"]),
        eni_quantity=int(row["eni_quantity"]),
        eni_private_ip_address_quantity=_number(row["eni_private_ip_address_quantity"]),
        eni_ipv6_address_quantity=_number(row["eni_ipv6_address_quantity"]),
        eni_trunk_supported=trunk == "true" if trunk else None,
        eni_total_quantity=_number(row["eni_total_quantity"]),
        bandwidth_gbps=float(bandwidth) if bandwidth else None,
    )


def _number(cell: str) -> int | None:
    return int(cell) if cell else None
