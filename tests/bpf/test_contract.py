"""bpf/fabric.h and lab/vpc/contract.py say the same: compared by the BTF of the built object."""

from __future__ import annotations

import pytest

from terway.lab.vpc import contract
from terway.lab.vpc.contract import DropReason, OwnerKind
from terway.lab.vpc.kernel import OBJECT
from terway.linux.layout import Layout
from tests.support.btf import Btf, read_btf

LAYOUTS = [value for value in vars(contract).values() if isinstance(value, Layout)]


@pytest.fixture(scope="module")
def btf() -> Btf:
    return read_btf(OBJECT)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_field_has_the_offset_and_size_of_the_c_struct(btf, layout):
    assert layout.offsets() == btf.structs()[layout.name]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_no_struct_has_padding(btf, layout):
    assert layout.size == btf.sizes()[layout.name]


def test_drop_reasons_have_the_numbers_of_the_c_enum(btf):
    ours = {f"DROP_{reason.name}": reason.value for reason in DropReason}

    assert ours | {"DROP_REASONS": len(DropReason)} == btf.enums()["drop_reason"]


def test_owner_kinds_have_the_numbers_of_the_c_enum(btf):
    ours = {f"OWNER_{kind.name}": kind.value for kind in OwnerKind}

    assert ours == btf.enums()["owner_kind"]
