"""How are labs and their nodes listed to a person?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from terway.cli.table import table_lines
from terway.lab.world.paths import LabPaths

NO_LABS = "no lab runs; start one: terway-lab up"


def lab_facts(lab: LabPaths) -> dict[str, str]:
    """Return what is known of a lab without asking it."""
    return {"name": lab.name, "folder": str(lab.folder), "kubeconfig": str(lab.kubeconfig)}


def lab_lines(labs: Iterable[Mapping[str, str]]) -> list[str]:
    """Return a line for each lab."""
    rows = [(one["name"], one["folder"]) for one in labs]
    return table_lines(("LAB", "FOLDER"), rows, whole="FOLDER") if rows else [NO_LABS]


def node_lines(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line for each node and for each further address of one."""
    rows = [row for one in nodes for row in _rows_of(one)]
    return table_lines(("NODE", "STATE", "INSTANCE", "ADDRESS"), rows, whole="ADDRESS")


def _rows_of(node: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    state = "Ready" if node["ready"] else "NotReady"
    first = (node["name"], state, node["instance_id"])
    for at, address in enumerate(node["addresses"] or ("-",)):
        yield (*(first if not at else ("", "", "")), address)
