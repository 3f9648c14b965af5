"""Fixtures of the conformance suites."""

from __future__ import annotations

import pytest

from tests.support.cni import Node


@pytest.fixture
def node(tmp_path):
    return Node(folder=tmp_path)


@pytest.fixture
async def terwayd(node):
    async with node.terwayd() as answerer:
        yield answerer
