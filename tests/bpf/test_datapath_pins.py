"""What of the data path outlives a terwayd: maps under their names, and what is in them."""

from __future__ import annotations

import os
import struct
from contextlib import closing
from pathlib import Path

import pytest

from terway.linux.bpf_program import program_info, run_program
from terway.linux.ebpf import tcx
from terway.linux.ebpf.contract import FLOW_STATE, FLOW_TUPLE
from terway.linux.ebpf.migrate import converter
from terway.linux.ebpf.pinned_programs import forget_programs
from terway.linux.ebpf.pins import PROGRAMS, Pins, ensure_bpffs, is_bpffs
from terway.linux.ebpf.programs import STRUCTS, DataPathObject, memory_of, open_object
from terway.linux.ebpf.stamp import open_stamp, stamp_name
from terway.linux.layout import Layout
from terway.linux.netlink.traffic import Hook
from terway.model.endpoint import EndpointNumber
from terway.model.errors import UsageError

SIZES = {"flows": 1024, "pieces": 64, "choices": 1024, "affinities": 64}
KEY = FLOW_TUPLE.pack(source=bytes(12) + b"\x01\x02\x03\x04", protocol=6, family=6)
FLOW = FLOW_STATE.pack(seen_ns=7, backend=9, flags=3)
LATER = FLOW_TUPLE.pack(protocol=17, family=4)


@pytest.fixture
def pins(tmp_path):
    pins = Pins(Path("/sys/fs/bpf") / tmp_path.name)
    yield pins
    for layout in pins.layouts():
        pins.drop(layout)
    forget_programs(pins.folder(PROGRAMS))
    pins.forget()


def opened(pins: Pins, **given) -> DataPathObject:
    return open_object(pins, sizes={**SIZES, **given.pop("sizes", {})}, **given)


def settled(pins: Pins, **given) -> None:
    """Load, remember one connection, settle and end: what a terwayd leaves behind."""
    with closing(opened(pins, **given)) as first:
        first.maps["flows"].update(KEY, FLOW)
        first.settle()


@pytest.mark.root
class TestPins:
    def test_the_next_terwayd_goes_on_with_what_the_last_one_remembers(self, pins):
        settled(pins)

        with closing(opened(pins)) as second:
            assert second.maps["flows"].lookup(KEY) == FLOW

    def test_the_same_programs_over_the_same_maps_are_not_verified_again(self, pins):
        with closing(opened(pins)) as first:
            first.settle()
            numbers = {name: one.number for name, one in first.programs.items()}

            with closing(opened(pins)) as second:
                assert {name: one.number for name, one in second.programs.items()} == numbers
                assert not second.is_fresh
            with closing(opened(pins, sizes={"flows": 2048})) as third:
                assert all(one.number != numbers[name] for name, one in third.programs.items())

    def test_before_it_settles_nothing_is_pinned_so_that_a_crash_changes_nothing(self, pins):
        with closing(opened(pins)):
            assert pins.layouts() == ()

    def test_a_map_of_another_size_takes_over_what_was_in_it(self, pins):
        settled(pins)

        with closing(opened(pins, sizes={"flows": 2048})) as second:
            assert second.maps["flows"].max_entries == 2048
            assert second.maps["flows"].lookup(KEY) == FLOW
            second.settle()
        with closing(opened(pins, sizes={"flows": 2048})) as third:
            assert third.maps["flows"].lookup(KEY) == FLOW

    def test_an_array_that_is_smaller_now_has_what_it_has_a_place_for(self, pins):
        with closing(opened(pins, sizes={"slots": 64})) as first:
            for place in (7, 60):
                first.maps["slots"].update(struct.pack("=I", place), struct.pack("=I", 5))
            first.settle()

        with closing(opened(pins, sizes={"slots": 32})) as second:
            held = second.maps["slots"].items()
            assert {key: value for key, value in held.items() if any(value)} == {
                struct.pack("=I", 7): struct.pack("=I", 5)
            }

    def test_a_map_that_is_too_small_now_keeps_no_terwayd_from_its_programs(self, pins):
        """What has no room is left out where the map is filled again, and told there."""
        with closing(opened(pins, sizes={"frontends": 64})) as first:
            size = first.maps["frontends"].key_size, first.maps["frontends"].value_size
            for number in range(40):
                first.maps["frontends"].update(number.to_bytes(size[0], "big"), bytes(size[1]))
            first.settle()

        with closing(opened(pins, sizes={"frontends": 16})) as second:
            assert second.maps["frontends"].count() == 16
            assert second.is_fresh

    def test_what_came_while_the_programs_were_exchanged_is_taken_over_too(self, pins):
        with closing(opened(pins)) as first:
            first.maps["flows"].update(KEY, FLOW)
            first.settle()
            with closing(opened(pins, sizes={"flows": 2048})) as second:
                first.maps["flows"].update(LATER, FLOW)
                second.maps["flows"].update(KEY, bytes(len(FLOW)))
                second.settle()
                assert second.maps["flows"].lookup(LATER) == FLOW
                assert second.maps["flows"].lookup(KEY) == bytes(len(FLOW))

    def test_another_layout_takes_connections_over_by_the_names_of_fields(self, pins):
        settled(pins, layout=1, structs={**STRUCTS, "flows": (FLOW_TUPLE, _swapped())})

        with closing(opened(pins, layout=2)) as second:
            found = FLOW_STATE.integers(second.maps["flows"].lookup(KEY) or b"")
            assert (found["backend"], found["flags"]) == (3, 9)
            second.settle()
        assert pins.layouts() == (2,)

    def test_the_maps_of_another_layout_stay_until_the_new_one_settles(self, pins):
        settled(pins, layout=1)

        with closing(opened(pins, layout=2)):
            assert pins.layouts() == (1,)

    def test_a_map_that_cannot_be_made_is_named(self, pins):
        with pytest.raises(UsageError, match="no map 'locals'") as refused:
            opened(pins, sizes={"locals": 0xF000_0000})
        assert refused.value.field == "locals"

    def test_no_descriptor_is_left_open(self, pins):
        settled(pins)
        before = len(os.listdir("/proc/self/fd"))
        settled(pins, sizes={"flows": 2048})
        settled(pins, layout=2)

        assert len(os.listdir("/proc/self/fd")) == before

    def test_the_kernel_says_how_much_memory_each_map_takes(self, pins):
        with closing(opened(pins)) as first:
            assert memory_of(first.maps)["flows"] > 1024 * len(FLOW)


@pytest.mark.root
def test_a_file_system_for_pins_is_mounted_where_there_is_none(tmp_path):
    place = tmp_path / "bpf"
    place.mkdir()
    assert not is_bpffs(place)

    ensure_bpffs(place)

    assert is_bpffs(place / "terway")


@pytest.mark.root
def test_a_place_where_none_can_be_mounted_is_named(tmp_path):
    with pytest.raises(UsageError, match="missing is no BPF file system"):
        ensure_bpffs(tmp_path / "missing")


@pytest.mark.root
def test_a_stamp_writes_the_number_over_whatever_the_packet_carries():
    number = EndpointNumber(0x7FFFFFFF)
    with open_stamp(number) as fd:
        run = run_program(fd, bytes(64), context=b"\xff" * 0 + bytes(192))
        assert run.verdict == 0xFFFFFFFF
        assert run.context[48:56] == number.to_bytes(4, "little") + bytes.fromhex("a9572a7e")
        assert program_info(fd).name == stamp_name(number)


@pytest.mark.root
def test_a_device_keeps_its_program_by_a_pinned_link_and_gets_another_in_place(pins):
    with closing(opened(pins)) as first:
        entry, other = first.programs["from_eni"], first.programs["to_pod"]
        if not tcx.is_supported(1, entry.fd):
            pytest.skip("no tcx: a kernel before 6.6")
        tcx.attach(pins.links, 1, Hook.INGRESS, entry.fd)
        assert tcx.attached(pins.links, 1, Hook.INGRESS) == entry.number

        tcx.attach(pins.links, 1, Hook.INGRESS, other.fd)
        assert tcx.attached(pins.links, 1, Hook.INGRESS) == other.number

        tcx.detach(pins.links, 1, Hook.INGRESS)
        assert tcx.attached(pins.links, 1, Hook.INGRESS) is None


def _swapped() -> Layout:
    names = {"backend": "flags", "flags": "backend"}
    fields = tuple((names.get(name, name), code) for name, code in FLOW_STATE.fields)
    return Layout(name="flow_state", fields=fields)


def test_a_field_that_is_new_is_zero_and_one_that_is_narrower_keeps_its_low_bits():
    old = Layout(name="x", fields=(("a", "I"), ("gone", "I"), ("b", "4s")))
    new = Layout(name="x", fields=(("b", "6s"), ("new", "I"), ("a", "H")))

    found = converter(old, new)(old.pack(a=0x10002, gone=3, b=b"four"))

    assert new.unpack(found) == {"b": b"four\0\0", "new": 0, "a": 2}
