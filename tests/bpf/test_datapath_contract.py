"""bpf/contract.h and linux/ebpf/contract.py say the same: compared by the BTF of what is built."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from terway.linux.ebpf import contract
from terway.linux.ebpf.contract import Happening
from terway.linux.ebpf.losses import Loss
from terway.linux.layout import Layout
from terway.model.endpoint import EndpointKind
from tests.support.btf import Btf, read_btf

HEADER = Path(__file__).parents[2] / "bpf" / "contract.h"
LAYOUTS = [value for value in vars(contract).values() if isinstance(value, Layout)]
NUMBERS = {name: value for name, value in vars(contract).items() if type(value) is int}
_DEFINED = re.compile(r"^#define (\w+)\s+(0x[0-9a-f]+|\d+)\b", re.MULTILINE)


@pytest.fixture(scope="module")
def btf(tmp_path_factory) -> Btf:
    """Return the BTF of an object that uses every type: which of them a program needs varies."""
    folder = tmp_path_factory.mktemp("contract")
    source = folder / "all.bpf.c"
    names = [*(f"struct {one.name}" for one in LAYOUTS)]
    names += ["enum loss", "enum endpoint_kind", "enum happening"]
    uses = "".join(f"{name} v{number};\n" for number, name in enumerate(names))
    source.write_text(f'#include "contract.h"\n{uses}')
    flags = ["-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", f"-I{HEADER.parent}"]
    output = folder / "all.bpf.o"
    subprocess.run(["clang", *flags, "-c", source, "-o", output], check=True)
    return read_btf(output)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_field_has_the_offset_and_size_of_the_c_struct(btf, layout):
    assert layout.offsets() == btf.structs()[layout.name]
    assert layout.size == btf.sizes()[layout.name]


def test_every_struct_of_the_header_has_a_layout():
    declared = set(re.findall(r"^struct (\w+) \{", HEADER.read_text(), re.MULTILINE))

    assert declared == {one.name for one in LAYOUTS}


def test_losses_have_the_numbers_of_the_c_enum(btf):
    ours = {f"LOSS_{reason.name}": reason.value for reason in Loss}

    assert ours | {"LOSSES": len(Loss)} == btf.enums()["loss"]


def test_every_loss_can_be_told_to_a_person():
    assert all(reason.meaning for reason in Loss)


@pytest.mark.parametrize(
    ("enum", "name", "prefix"),
    [(EndpointKind, "endpoint_kind", "ENDPOINT"), (Happening, "happening", "HAPPENED")],
)
def test_kinds_have_the_numbers_of_the_c_enum(btf, enum, name, prefix):
    assert {f"{prefix}_{one.name}": one.value for one in enum} == btf.enums()[name]


def test_the_numbers_of_the_header_are_the_same_here():
    text = HEADER.read_text().replace("\\\n", "")
    there = {name: int(value, 0) for name, value in _DEFINED.findall(text)}
    ours = {name: value for name, value in NUMBERS.items() if not name.endswith("_BEFORE")}

    assert ours.items() <= there.items()
    assert there.keys() - ours.keys() == {"FRONTEND_ANY_NODE_ADDRESS"}
