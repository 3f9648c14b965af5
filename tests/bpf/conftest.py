"""One loaded fabric for all tests of a module: the verifier takes 0.15 s."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fabric_program import FabricProgram, open_program


@pytest.fixture(scope="module")
def loaded_program() -> Iterator[FabricProgram]:
    with open_program() as program:
        yield program


@pytest.fixture
def program(loaded_program: FabricProgram) -> FabricProgram:
    loaded_program.forget_flows()
    return loaded_program
