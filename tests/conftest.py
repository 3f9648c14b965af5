"""What all tests share: every test process has namespaces of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.support.guest_kernel import GUEST
from tests.support.isolation import enter_private_namespaces

# How long an example takes says what else the machine does, not whether it holds.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the process that runs tests: the xdist worker, or pytest itself without xdist."""
    config.addinivalue_line("markers", "guest: needs a kernel with ipvlan and fq, a guest")
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if os.geteuid() == 0 and runs_tests:
        enter_private_namespaces()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person choose among the tests that run in the guest kernel."""
    parser.addoption("--guest", action="append", help="run these tests in the guest, not all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the guest, the longest test; leave to it what is its own; skip what needs root.

    A worker is busy with the guest for minutes: the others take from it all that it would do next.
    """
    items.sort(key=lambda item: "test_guest_kernel.py" not in item.nodeid)
    if GUEST not in os.environ:
        of_guest = [item for item in items if item.get_closest_marker("guest")]
        config.hook.pytest_deselected(items=of_guest)  # contract/test_guest_kernel.py runs them
        items[:] = [item for item in items if not item.get_closest_marker("guest")]
    if os.geteuid() == 0:
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in ("root", "lab", "witness")):
            item.add_marker(pytest.mark.skip(reason="needs root; run make test as root"))
