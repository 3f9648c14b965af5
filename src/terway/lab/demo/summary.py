"""What does one want to know of a lab at a glance? Lines of text, without colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from terway.lab.demo.measure import Measurement

Json = Mapping[str, Any]
COLUMNS = 78  # 80, and the indent of the demo
_SHORTEST_NAME = 18
_GAP = "  "


def summary_lines(status: Json, *, columns: int | None = None) -> list[str]:
    """Return the lab's VPC, nodes, attached instances, ENIs and pods.

    With `columns`, the names of pods are shortened to what fits; they are whole otherwise.
    """
    vpc = status["vpc"]
    lines = [
        f"VPC {vpc['cidr']}  {vpc['ipv6_cidr']}  services {'  '.join(vpc['service_cidrs'])}",
        *(
            f"  vSwitch {one['name']:<6} {one['cidr']:<18} {one['ipv6_cidr']:<24} "
            f"{one['ipv4_in_use']} in use"
            for one in vpc["vswitches"]
        ),
        "",
        *node_table(status),
        *instance_table(status),
        "",
        *pod_table(status, columns=columns),
    ]
    return [line.rstrip() for line in lines]


def node_table(status: Json) -> list[str]:
    """Return a row for each node: its ENIs, addresses and pods."""
    rows = [("NODE", "STATE", "ADDRESS", "ENIS", "ADDRESSES v4/v6", "PODS")]
    for node in status["nodes"]:
        enis = [eni for eni in status["enis"] if eni["node"] == node["name"]]
        ours = [eni for eni in enis if eni["type"] != "Primary"]
        rows.append(
            (
                node["name"],
                "Ready" if node["ready"] else "NotReady",
                node["addresses"][0],
                f"1+{len(ours)}",
                f"{_held(ours, 'ipv4')}/{_held(ours, 'ipv6')}",
                f"{node['pods']} of {node['max_pods']}",
            )
        )
    return align(rows)


def _held(enis: Sequence[Json], family: str) -> str:
    """Return how many addresses ENIs have; of IPv6 prefixes, how many there are."""
    count = sum(len(eni[family]) for eni in enis)
    prefixes = [ip_network(one) for eni in enis for one in eni[f"{family}_prefixes"]]
    countable = sum(one.num_addresses for one in prefixes if one.version == 4)
    others = Counter(one.prefixlen for one in prefixes if one.version == 6)
    return "+".join(
        [str(count + countable), *(f"{many}x/{size}" for size, many in sorted(others.items()))]
    )


def instance_table(status: Json) -> list[str]:
    """Return an empty line and a row for each attached namespace; nothing where there is none."""
    found = status["instances"]
    rows = [(one["name"], one["instance_id"], *one["addresses"][:1]) for one in found]
    return ["", *align([("ATTACHED", "INSTANCE", "ADDRESS"), *rows])] if rows else []


def pod_table(status: Json, *, columns: int | None = COLUMNS) -> list[str]:
    """Return a row for each pod with an address of its own, in at most `columns` columns."""
    rows = []
    for pod in status["pods"]:
        if not pod["host_network"]:
            addresses = [*pod["addresses"], "", ""]
            name = f"{pod['namespace']}/{pod['name']}"
            rows.append((name, pod["node"], addresses[0], addresses[1]))
    if not rows:
        return ["no pods"]
    head = ("POD", "NODE", "IPv4", "IPv6")
    if columns is None:
        return align([head, *rows])
    others = max(map(len, align([head[1:], *(row[1:] for row in rows)])))
    width = max(columns - others - len(_GAP), _SHORTEST_NAME)
    return align([head, *((shorten(row[0], width), *row[1:]) for row in rows)])


def traffic_table(measurements: Iterable[Measurement]) -> list[str]:
    """Return a row for each measurement."""
    rows = [("PATH", "FAMILY", "ROUND TRIP", "THROUGHPUT", "SOURCE SEEN")]
    rows += [
        (
            one.path,
            f"IPv{one.family.value}",
            f"{one.rtt_us:.0f} us",
            f"{one.bits_per_s / 1e9:.1f} Gbit/s",
            "its own" if one.kept_its_address else one.seen_as,
        )
        for one in measurements
    ]
    return align(rows)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows with their columns below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def shorten(text: str, width: int) -> str:
    """Return `text`, or as much of its beginning and end as fits into `width`."""
    if len(text) <= width:
        return text
    tail = width // 3
    return f"{text[: width - tail - 1]}…{text[-tail:]}"
