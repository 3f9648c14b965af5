"""Are the RAM policies all that is called, and nothing else?"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.cloud import permissions
from terway.lab.cloud.products import BY_VERSION
from terway.model.balancer import ListenerProtocol

ROOT = Path(__file__).parents[3]
CLOUD = ROOT / "src" / "terway" / "cloud"
# What only tools of people call, with keys of their own: looking for faults, planning a network.
OF_PEOPLE = {"inspect.py", "network.py"}
FILES = {
    "slb": ("slb*.py",),
    "nlb": ("nlb*.py",),
    "ecs": ("ecs*.py", "source_groups.py"),
    "vpc": ("ecs*.py",),
}


def texts_of(path: Path) -> Iterator[str]:
    """Yield the strings of a module; those with a protocol in them, for each protocol."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            for protocol in ListenerProtocol:
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else protocol.value
                    for part in node.values
                )


def called(product: str) -> set[str]:
    """Return the actions of a product that its clients name."""
    known = next(one.actions for one in BY_VERSION.values() if one.name == product)
    paths = (path for pattern in FILES[product] for path in CLOUD.glob(pattern))
    found = {text for path in paths if path.name not in OF_PEOPLE for text in texts_of(path)}
    return {f"{product}:{action}" for action in known if action in found}


@pytest.mark.parametrize("product", FILES)
def test_each_action_that_is_called_is_listed_and_no_other(product):
    listed = {one for one in permissions.CONTROL_PLANE if one.startswith(f"{product}:")}

    assert called(product) == listed


def test_nodes_that_manage_themselves_know_nothing_of_load_balancers():
    assert set(permissions.AGENT) < set(permissions.CONTROL_PLANE)
    assert not [one for one in permissions.AGENT if one.startswith(("slb:", "nlb:"))]


@pytest.mark.parametrize("name", permissions.POLICIES)
def test_the_policies_are_what_is_listed(name):
    written = json.loads((ROOT / "deploy" / name).read_text())

    (statement,) = written["Statement"]
    assert tuple(statement["Action"]) == permissions.POLICIES[name]
    assert not [one for one in statement["Action"] if "*" in one]
