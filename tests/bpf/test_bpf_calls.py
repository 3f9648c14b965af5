"""libbpf and bpf(2) from Python: maps, pins, constants, and the words of a refusal."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.lab.vpc.kernel import OBJECT
from terway.linux import bpf
from terway.linux.bpf_program import program_info, run_program
from terway.linux.layout import Layout
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.model.errors import BugError, ConflictError, TransientError, UsageError

pytestmark = pytest.mark.root

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
const volatile __u32 answer = 1;
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64);
         __uint(max_entries, 3); } numbers SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __type(key, __u32); __type(value, __u32);
         __uint(max_entries, 1); } each SEC(".maps");
SEC("tc") int good(struct __sk_buff *skb) { skb->mark = skb->len; return answer; }
SEC("tc") int bad(struct __sk_buff *skb) { return *(int *)(long)skb->data; }
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpf")
    (folder / "sample.bpf.c").write_text(SOURCE)
    words = ["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c"]
    target = folder / "sample.bpf.o"
    subprocess.run([*words, str(folder / "sample.bpf.c"), "-o", str(target)], check=True)
    return target


@pytest.fixture
def loaded(sample: Path) -> Iterator[LoadedObject]:
    opened = load_object(read_object(sample), programs=("good",))
    yield opened
    opened.close()


@pytest.fixture
def numbers(loaded: LoadedObject) -> bpf.Map:
    return bpf.map_of(loaded.maps["numbers"])


def key(number: int) -> bytes:
    return struct.pack("=I", number)


def value(number: int) -> bytes:
    return struct.pack("=Q", number)


def test_a_description_is_read_without_the_kernel(sample):
    spec = read_object(sample)

    assert [program.name for program in spec.programs] == ["good", "bad"]
    sizes = {one.name: (one.key_size, one.value_size, one.max_entries) for one in spec.maps}
    assert sizes["numbers"] == (4, 8, 3)
    assert spec.constants == key(1)


def test_a_missing_file_and_a_wrong_one_are_told_apart(tmp_path):
    (tmp_path / "text.bpf.o").write_text("no ELF")

    with pytest.raises(UsageError, match=r"absent\.bpf\.o"):
        read_object(tmp_path / "absent.bpf.o")
    with pytest.raises(BugError, match=r"text\.bpf\.o"):
        read_object(tmp_path / "text.bpf.o")


def test_a_refused_program_raises_the_verifiers_words(sample):
    with pytest.raises(BugError, match="invalid access to packet"):
        load_object(read_object(sample))


def test_constants_are_set_before_loading(sample):
    opened = load_object(read_object(sample), programs=("good",), constants=key(7))

    assert run_program(opened.programs["good"], bytes(60)).verdict == 7

    opened.close()


def test_constants_of_the_wrong_size_are_refused(sample):
    with pytest.raises(BugError, match="3 bytes given, 4 wanted"):
        load_object(read_object(sample), programs=("good",), constants=b"abc")


def test_a_test_run_gives_verdict_packet_and_context(loaded):
    run = run_program(loaded.programs["good"], bytes(60), context=bytes(192))

    assert (run.verdict, run.packet) == (1, bytes(60))
    assert struct.unpack_from("=I", run.context, 8) == (60,)


def test_a_map_remembers_what_is_put_and_forgets_what_is_deleted(numbers):
    numbers.update(key(1), value(10))
    numbers.update(key(2), value(20))
    numbers.update(key(2), value(21))

    assert numbers.items() == {key(1): value(10), key(2): value(21)}
    assert numbers.lookup(key(2)) == value(21)
    assert numbers.delete(key(2))
    assert not numbers.delete(key(2))
    assert numbers.lookup(key(2)) is None
    assert list(numbers.keys()) == [key(1)]


def test_a_full_map_and_a_wrong_size_are_told(numbers):
    for n in range(3):
        numbers.update(key(n), value(n))

    with pytest.raises(TransientError, match="numbers"):
        numbers.update(key(3), value(3))
    with pytest.raises(BugError, match="key of 2 bytes, not 4"):
        numbers.lookup(b"ab")
    with pytest.raises(BugError, match="value of 2 bytes, not 8"):
        numbers.update(key(0), b"ab")


def test_many_entries_are_read_in_batches(sample):
    opened = load_object(read_object(sample), programs=("good",), max_entries={"numbers": 10_000})
    many = bpf.map_of(opened.maps["numbers"])
    wanted = {key(n): value(n) for n in range(9_000)}
    for one, other in wanted.items():
        many.update(one, other)

    assert many.items() == wanted

    opened.close()


def test_a_per_cpu_value_has_one_part_for_each_cpu(loaded):
    each = bpf.map_of(loaded.maps["each"])

    assert each.items() == {key(0): bytes(8 * bpf.possible_cpus())}


def test_a_pinned_map_is_found_again(numbers, tmp_path):
    path = Path("/sys/fs/bpf") / tmp_path.name
    numbers.update(key(1), value(5))

    assert bpf.open_pinned(path) is None
    bpf.pin(numbers.fd, path)
    with pytest.raises(ConflictError):
        bpf.pin(numbers.fd, path)
    found = bpf.open_pinned(path)
    assert found is not None
    assert bpf.map_of(found).lookup(key(1)) == value(5)

    os.close(found)
    path.unlink()


def test_the_verifier_walks_the_fabric_well_below_its_limit():
    loaded = load_object(read_object(OBJECT))
    walked = {n: program_info(f).verified_instructions for n, f in loaded.programs.items()}
    loaded.close()

    assert set(walked) == {"fabric_port", "fabric_services"}
    assert max(walked.values()) < 500_000


def test_a_layout_refuses_fields_it_does_not_have():
    pair = Layout(name="pair", fields=(("one", "I"), ("other", "I")))

    assert pair.unpack(pair.pack(other=2)) == {"one": 0, "other": 2}
    with pytest.raises(TypeError, match="struct pair has no field third"):
        pair.pack(third=3)
