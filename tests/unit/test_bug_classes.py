"""docs/bug-classes.md is complete, and what it says of tests is so: each is there, and says why."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CLASSES = range(1, 61)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
_NAMED = re.compile(r"bug class(?:es)?(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SPAN = re.compile(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?")


def _rows() -> list[tuple[int, list[str]]]:
    """Return the number of each row of the table, and its cells."""
    lines = (ROOT / "docs" / "bug-classes.md").read_text().splitlines()
    cells = [[one.strip() for one in line.strip("|").split("|")] for line in lines]
    return [(int(row[0]), row[1:]) for row in cells if row[0].isdigit()]


@cache
def _said_in(file: str) -> dict[str, str]:
    """Return what the file says of each of its tests: at the top, and in the test's own words."""
    text = (ROOT / "tests" / file).read_text()
    tree = ast.parse(text)
    head = ast.get_docstring(tree) or ""
    return {
        node.name: f"{head}\n\n{ast.get_docstring(node) or ''}\n\n{_comments(text, node)}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _comments(text: str, node: ast.AST) -> str:
    lines = (ast.get_source_segment(text, node) or "").splitlines()
    return "\n".join(line.partition("# ")[2] for line in lines)


def _numbers(text: str) -> set[int]:
    """Return the classes that a text names: "bug classes 3 and 7", "bug class 26, and …; 20: …"."""
    found: set[int] = set()
    for paragraph in re.split(r"\n\s*\n", text):
        if named := _NAMED.search(paragraph):
            for first, last in _SPAN.findall(named["rest"]):
                found |= set(range(int(first), int(last or first) + 1))
    return found


def test_every_class_has_one_row_with_a_test_or_a_reason():
    rows = _rows()

    assert [number for number, _ in rows] == list(CLASSES)
    for number, (name, keeps, last) in rows:
        assert name, number
        if _TEST.search(last):
            assert keeps, number
        else:
            assert "**later**" in last or "**cannot**" in last, number


@pytest.mark.parametrize(("number", "cells"), _rows(), ids=[str(number) for number, _ in _rows()])
def test_the_tests_of_a_class_are_there_and_name_its_number(number, cells):
    for file, name in _TEST.findall(cells[-1]):
        said = _said_in(file)

        assert name in said, f"{file} has no test {name}"
        assert number in _numbers(said[name]), f"{file}::{name} does not name bug class {number}"


def test_numbers_are_found_however_they_are_written():
    assert _numbers('"""Bug classes 3, 7 and 9-11: a leak."""') == {3, 7, 9, 10, 11}
    assert _numbers("# bug class 26, and what others do; 20: an upgrade") == {26, 20}
    assert _numbers('"""Requirements A, L and bug classes 18 to 20."""') == {18, 19, 20}
    assert _numbers('"""CNI 1.1.0.\n\nBug class 5."""') == {5}
