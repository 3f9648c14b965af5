"""The bytes that services are compiled to are those that the contract of the data path has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from terway.linux.ebpf import contract
from terway.service import contents
from terway.service.maglev import SIZES, fill_table, table_size

numbers = st.integers(0, 2**32 - 1)
ports = st.integers(0, 65535)
addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@given(addresses, ports, st.sampled_from([6, 17, 132]))
def test_ends_of_both_kinds_are_as_the_contract_says(address, port, protocol):
    family = contents.family_of(address)
    packed = contents.pack_end(address, port, protocol, family)
    said = {
        "address": address,
        "port": port.to_bytes(2, "big"),
        "protocol": protocol,
        "family": family,
    }

    assert packed == contract.FRONTEND_KEY.pack(**said)
    assert contents.unpack_end(packed) == (address, port, protocol, family)
    line = contents.pack_backend(packed, contents.BACKEND_RESTS, 77)
    flags = contract.BACKEND_TERMINATING | 77 << contract.BACKEND_LINE_SHIFT
    assert line == contract.BACKEND.pack(**said, flags=flags)
    assert contents.unpack_backend(line) == (packed, 1, 77)


@given(numbers, numbers, numbers, numbers)
def test_frontends_are_as_the_contract_says(line, inside, outside, affinity_s):
    flags = contents.FLAG_EXTERNAL | contents.FLAG_NODE_PORT
    said = {"inside": inside, "outside": outside, "affinity_s": affinity_s}

    packed = contents.pack_frontend(line, inside, outside, affinity_s, flags)

    wanted = contract.FRONTEND_EXTERNAL | contract.FRONTEND_NODE_PORT
    assert packed == contract.FRONTEND.pack(service=line, **said, flags=wanted)
    assert contents.unpack_frontend(packed) == (line, inside, outside, affinity_s, flags)


@given(st.lists(numbers, max_size=contents.SET_INLINE))
def test_sets_are_as_the_contract_says(backends):
    inline = b"".join(one.to_bytes(4, "little") for one in backends)

    packed = contents.pack_small_set(backends)

    assert packed == contract.BACKEND_SET.pack(count=len(backends), backend=inline)
    assert contents.unpack_set(packed) == (len(backends), 0, 0, tuple(backends))
    large = contents.pack_large_set(100, 7, 1021)
    assert large == contract.BACKEND_SET.pack(count=100, table=7, size=1021)


@given(addresses, st.integers(0, 128))
def test_source_ranges_are_as_the_contract_says(address, length):
    said = {"service": 5, "family": contents.family_of(address), "address": address}
    bits = contract.SOURCE_RANGE_BEFORE + length

    packed = contents.pack_range(5, address, length)

    assert packed == contract.SOURCE_RANGE.pack(prefixlen=bits, **said)
    assert contents.unpack_range_line(packed) == 5


def test_flags_have_the_numbers_of_the_contract():
    names = ("AFFINITY", "SOURCE_RANGES", "EXTERNAL", "LOCAL_OUTSIDE", "NODE_PORT", "HOST_PORT")

    for name in names:
        assert getattr(contents, f"FLAG_{name}") == getattr(contract, f"FRONTEND_{name}")


@given(st.integers(17, 60), st.randoms(use_true_random=False))
def test_a_table_gives_all_about_as_much_and_one_that_goes_moves_few(count, random):
    names = [n.to_bytes(4, "big") for n in range(count)]
    size = table_size(count)
    full = fill_table(names, size)
    shares = [full.count(place) for place in range(count)]

    assert size in SIZES
    assert max(shares) - min(shares) <= 1
    gone = random.randrange(count)
    rest = fill_table([name for place, name in enumerate(names) if place != gone], size)
    kept = [place for place in range(count) if place != gone]
    moved = sum(full[i] != gone and kept[rest[i]] != full[i] for i in range(size))
    assert moved < size / 4
