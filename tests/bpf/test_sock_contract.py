"""bpf/sock.h and linux/ebpf/sock_contract.py say the same: compared by BTF of the built object."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from terway.linux.ebpf import sock_contract
from terway.linux.ebpf.sock_contract import CONSTANTS
from terway.linux.ebpf.sockets import OBJECT
from terway.linux.layout import Layout
from terway.linux.libbpf import read_object
from tests.support.btf import read_btf

HEADER = Path(__file__).parents[2] / "bpf" / "sock.h"
LAYOUTS = [value for value in vars(sock_contract).values() if isinstance(value, Layout)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_field_has_the_offset_and_size_of_the_c_struct(layout):
    btf = read_btf(OBJECT)

    assert layout.offsets() == btf.structs()[layout.name]
    assert layout.size == btf.sizes()[layout.name]


def test_every_struct_of_the_header_has_a_layout():
    declared = set(re.findall(r"^struct (\w+) \{", HEADER.read_text(), re.MULTILINE))

    assert declared == {one.name for one in LAYOUTS}


def test_the_constants_are_all_that_is_constant():
    assert len(read_object(OBJECT).constants) == CONSTANTS.size
