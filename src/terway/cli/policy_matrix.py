"""terway-cli policy matrix: who reaches whom?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from terway.cli.policy_names import ports_text, shortened
from terway.cli.policy_progress import telling
from terway.cli.policy_source import manifest_options, read_manifests
from terway.cli.table import print_json, print_lines, wrapped
from terway.model.errors import UsageError
from terway.policy.asking.check_parse import parse_ports
from terway.policy.asking.matrix import Cell, Name, Table, table_of
from terway.policy.asking.representatives import Holder, holders_of
from terway.policy.cluster import PodKey
from terway.policy.ports import PortSet
from terway.policy.records.workload import workload_of

_WIDEST = 20  # columns of two letters that fit beside a number and a name
_BY = ("pod", "workload", "namespace")


@click.command("matrix")
@click.option("--port", "port", default="", help="TCP/80, UDP/53, TCP/8000-8100, TCP or ICMP.")
@click.option("--by", type=click.Choice(_BY), default="pod", show_default=True)
@click.option("--by-label", default="", help="A label whose values are the rows, instead.")
@manifest_options
def command(
    *,
    port: str,
    by: str,
    by_label: str,
    files: tuple[str, ...],
    pod_cidrs: tuple[str, ...],
    as_json: bool,
    **where: str,
) -> None:
    """Show who reaches whom: rows are sources, columns destinations.

    \b
    .  allowed      X  denied      ?  some of them, or some of the ports
    Names that policies treat alike are one; outside is a row for each kind of
    address that they tell apart. With --json: who is who, and the ports.
    """
    manifests = read_manifests(files, pod_cidrs, **where)
    if not manifests.has_pods:
        raise UsageError("there are no pods in it; give manifests with pods or workloads: -f")
    ports = parse_ports(port, "--port") if port else None
    with telling("working out who reaches whom"):
        holders = holders_of(manifests.cluster, manifests.policies)
        table = table_of(manifests.policies, holders, name=_namer(by, by_label, manifests.owners))
    if as_json:
        print_json(_plain(table))
    else:
        print_lines(matrix_lines(table, ports))


def _namer(by: str, label: str, owners: Mapping[PodKey, str]) -> Name:
    def name(holder: Holder) -> str:
        pod = holder.pod
        if pod is None:
            if holder.nodes:
                return f"node {holder.nodes[0].name}"
            return f"outside IPv{holder.address.version} (e.g. {holder.address})"
        if label:
            return f"{label}={pod.labels[label]}" if label in pod.labels else f"no {label}"
        if by == "namespace":
            return f"namespace {pod.key.namespace}"
        if by == "workload":
            owner = owners.get(pod.key) or workload_of(pod.key, pod.labels)
            return f"{pod.key.namespace}: {owner}"
        return str(pod.key)

    return name


def matrix_lines(table: Table, ports: PortSet | None) -> Iterator[str]:
    """Yield who is who, then the table; for many names, a list of who reaches whom."""
    members = table.members
    for at, names in enumerate(members, start=1):
        yield from wrapped(f"{at:>3}  {shortened(names)}")
    yield ""
    if len(members) > _WIDEST:
        yield from _list_lines(table, ports)
        return
    yield "from \\ to  " + " ".join(f"{at:>2}" for at in range(1, len(members) + 1))
    for at, row in enumerate(table.cells, start=1):
        yield f"      {at:>3}  " + " ".join(f"{_letter(cell, ports):>2}" for cell in row)
    if ports is None:
        yield ""
        yield from _port_lines(table)


def _letter(cell: Cell | None, ports: PortSet | None) -> str:
    if cell is None:
        return " "
    if ports is None:
        return "X" if not cell.any_of else "." if not cell.all_of.complement() else "?"
    if not ports - cell.all_of:
        return "."
    return "?" if ports & cell.any_of else "X"


def _port_lines(table: Table) -> Iterator[str]:
    """Yield the ports of all cells that are neither all nor nothing."""
    for at, row in enumerate(table.cells, start=1):
        for to, cell in enumerate(row, start=1):
            if cell is not None and _letter(cell, None) == "?":
                some = "" if cell.all_of == cell.any_of else "some of them "
                yield from wrapped(f"{at} to {to}: {some}{ports_text(cell.any_of)}")


def _list_lines(table: Table, ports: PortSet | None) -> Iterator[str]:
    for at, row in enumerate(table.cells, start=1):
        reached = [str(to) for to, cell in enumerate(row, start=1) if _letter(cell, ports) == "."]
        partly = [str(to) for to, cell in enumerate(row, start=1) if _letter(cell, ports) == "?"]
        yield from wrapped(f"{at:>3} reaches {', '.join(reached) or 'nobody'}")
        if partly:
            yield from wrapped(f"in part {', '.join(partly)}", indent=4)


def _plain(table: Table) -> dict[str, Any]:
    cells = [
        {"from": a, "to": b, "all": ports_text(cell.all_of), "any": ports_text(cell.any_of)}
        for a, row in enumerate(table.cells)
        for b, cell in enumerate(row)
        if cell is not None
    ]
    return {"members": table.members, "cells": cells}
