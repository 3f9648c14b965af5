"""What all tests share: every test process has namespaces of its own."""

from __future__ import annotations

import os

import pytest

from tests.support.isolation import enter_private_namespaces


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the process that runs tests: the xdist worker, or pytest itself without xdist."""
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if os.geteuid() == 0 and runs_tests:
        enter_private_namespaces()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none, and say so."""
    if os.geteuid() == 0:
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in ("root", "lab", "witness")):
            item.add_marker(pytest.mark.skip(reason="needs root; run make test as root"))
