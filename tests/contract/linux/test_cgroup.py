"""Programs for sockets are found again by the next terwayd, exchanged in place, and taken away."""

from __future__ import annotations

import os

import pytest

from terway.linux import bpf
from terway.linux.bpf_program import program_info
from terway.linux.ebpf import cgroup
from terway.linux.ebpf.cgroup import SocketCall
from terway.linux.ebpf.sockets import SocketPrograms, open_sockets
from tests.support.sock_program import BPFFS, SIZES, scratch_cgroup

pytestmark = pytest.mark.root


@pytest.fixture
def pins():
    folder = BPFFS / "cgroup-test" / "sockets"
    yield folder
    cgroup.detach(folder)


def number_of(programs: SocketPrograms, call: SocketCall) -> int:
    return program_info(programs.loaded.programs[f"terway_{call.word}"]).id


def test_every_call_has_its_program(pins):
    with scratch_cgroup() as place, open_sockets({}, max_entries=SIZES) as programs:
        programs.attach(place, pins)

        found = cgroup.attached(pins)

        assert {call: one.program for call, one in found.items()} == {
            call: number_of(programs, call) for call in SocketCall
        }
        assert {one.cgroup for one in found.values()} == {os.stat(place).st_ino}
        assert {call: one.call for call, one in found.items()} == {
            call: call.value for call in SocketCall
        }


def test_the_next_terwayd_exchanges_the_programs_and_keeps_what_sockets_have(pins):
    # given programs of a terwayd that ended
    with scratch_cgroup() as place:
        with open_sockets({}, max_entries=SIZES) as old:
            old.attach(place, pins)
            kept = os.dup(old.loaded.maps["sockets"])
            bpf.map_of(kept).update(bytes(32), bytes(24))

        # when the next one comes
        with open_sockets({"sockets": kept}, max_entries=SIZES) as new:
            new.attach(place, pins)

            # then its programs see all calls, and know what the old ones knew
            found = cgroup.attached(pins)
            assert {one.program for one in found.values()} == {
                number_of(new, call) for call in SocketCall
            }
            assert bpf.map_of(new.loaded.maps["sockets"]).lookup(bytes(32)) is not None
        os.close(kept)


def test_attaching_twice_changes_nothing(pins):
    with scratch_cgroup() as place, open_sockets({}, max_entries=SIZES) as programs:
        programs.attach(place, pins)
        before = cgroup.attached(pins)
        programs.attach(place, pins)

        assert cgroup.attached(pins) == before


def test_a_node_whose_cgroup_is_another_is_served_there(pins):
    with open_sockets({}, max_entries=SIZES) as programs:
        with scratch_cgroup() as old:
            programs.attach(old, pins)
        with scratch_cgroup() as new:
            programs.attach(new, pins)

            found = cgroup.attached(pins)
            assert {one.cgroup for one in found.values()} == {os.stat(new).st_ino}
            assert len(found) == len(SocketCall)


def test_nothing_is_left_after_detaching(pins):
    with scratch_cgroup() as place, open_sockets({}, max_entries=SIZES) as programs:
        programs.attach(place, pins)

        cgroup.detach(pins)
        cgroup.detach(pins)

        assert cgroup.attached(pins) == {}
        assert not pins.exists()
