"""Every object in an older kernel, without JIT and without BTF of itself: the verifier takes it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from terway.bpf_objects import object_path
from terway.linux.libbpf import load_object, read_object

pytestmark = [pytest.mark.root, pytest.mark.guest]

_SOURCES = Path(__file__).parents[2] / "bpf"
NAMES = sorted(one.name.removesuffix(".bpf.c") for one in _SOURCES.glob("*.bpf.c"))


@pytest.mark.parametrize("name", NAMES)
def test_the_verifier_takes_it_here_too(name: str) -> None:
    with closing(load_object(read_object(object_path(name)))) as loaded:
        assert loaded.programs
