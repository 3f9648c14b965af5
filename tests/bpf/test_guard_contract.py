"""bpf/guard.h and linux/guard_contract.py say the same: compared by the BTF of the built object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.linux import guard_contract
from terway.linux.guard import OBJECT
from terway.linux.guard_contract import GuardReason, pack_owner, unpack_owner
from terway.linux.layout import Layout
from terway.model.address import IPPair
from tests.support.btf import Btf, read_btf
from tests.support.guard_program import GUARD, V4, V6

LAYOUTS = [value for value in vars(guard_contract).values() if isinstance(value, Layout)]


@pytest.fixture(scope="module")
def btf() -> Btf:
    return read_btf(OBJECT)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_field_has_the_offset_and_size_of_the_c_struct(btf, layout):
    assert layout.offsets() == btf.structs()[layout.name]
    assert layout.size == btf.sizes()[layout.name]


def test_reasons_have_the_numbers_of_the_c_enum(btf):
    ours = {f"GUARD_{reason.name}": reason.value for reason in GuardReason}

    assert ours | {"GUARD_REASONS": len(GuardReason)} == btf.enums()["guard_reason"]


def test_every_reason_can_be_told_to_a_person():
    assert all(reason.meaning for reason in GuardReason)


@pytest.mark.parametrize("addresses", [IPPair(v4=V4), IPPair(v6=V6), IPPair(v4=V4, v6=V6)])
def test_an_owner_is_read_back_as_it_was_written(addresses):
    guard = replace(GUARD, addresses=addresses)

    assert unpack_owner(guard.link, pack_owner(guard)) == guard
