"""What do the programs of a node ask of its kernel? Of one of 5.10, nothing that is newer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.bpf_objects import object_path

# linux/bpf.h of 5.10: BPF_FUNC_redirect_peer is its last helper.
_LAST_OF_5_10 = 155
_BEHIND_CONSTANTS = {
    "datapath": {160},  # bpf_ktime_get_coarse_ns, 5.11: `has_coarse_clock`
    "sock": {187},  # bpf_set_retval, 5.18: `can_refuse`
}
_OF_NODES = ("datapath", "guard", "pacing", "priority", "sock", "trunk_pop", "trunk_push")
_CALL = 0x85
_HELPER, _FUNCTION_OF_THE_KERNEL = 0, 2  # what a call's source register says
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_IS_CODE = 0x4  # SHF_EXECINSTR


def _calls(path: Path) -> Iterator[tuple[int, int]]:
    """Yield kind and number of every call in an object (linux/bpf.h, struct bpf_insn)."""
    data = path.read_bytes()
    head = _ELF_HEADER.unpack_from(data)
    start, size, count = head[6], head[11], head[12]
    for number in range(count):
        _, _, flags, _, offset, length, *_ = _SECTION.unpack_from(data, start + number * size)
        if flags & _IS_CODE:
            for code, registers, _, value in struct.iter_unpack(
                "<BBhi", data[offset : offset + length]
            ):
                if code == _CALL:
                    yield registers >> 4, value


@pytest.mark.parametrize("name", _OF_NODES)
def test_a_kernel_of_5_10_knows_all_that_is_called(name):
    calls = set(_calls(object_path(name)))

    newer = {helper for kind, helper in calls if kind == _HELPER and helper > _LAST_OF_5_10}
    assert newer == _BEHIND_CONSTANTS.get(name, set())
    assert not [number for kind, number in calls if kind == _FUNCTION_OF_THE_KERNEL]
