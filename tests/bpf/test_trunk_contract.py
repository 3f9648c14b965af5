"""bpf/trunk.h and linux/trunk_contract.py say the same: compared by the BTF of the objects."""

from __future__ import annotations

import pytest

from terway.linux.trunk import POP, PUSH
from terway.linux.trunk_contract import MEMBER, SOURCE, TrunkLoss
from tests.support.btf import read_btf


@pytest.mark.parametrize(("path", "layout"), [(PUSH, SOURCE), (PUSH, MEMBER), (POP, MEMBER)])
def test_every_field_has_the_offset_and_size_of_the_c_struct(path, layout):
    btf = read_btf(path)

    assert layout.offsets() == btf.structs()[layout.name]
    assert layout.size == btf.sizes()[layout.name]


@pytest.mark.parametrize("path", [PUSH, POP])
def test_losses_have_the_numbers_of_the_c_enum(path):
    ours = {f"TRUNK_{why.name}": why.value for why in TrunkLoss}

    assert ours | {"TRUNK_LOSSES": len(TrunkLoss)} == read_btf(path).enums()["trunk_loss"]


def test_every_loss_can_be_told_to_a_person():
    assert all(why.meaning for why in TrunkLoss)
