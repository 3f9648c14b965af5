"""Maps on paper and in the kernel: what is put is what is read, and what goes is gone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from terway.linux.bpf import map_of
from terway.linux.ebpf import contract
from terway.linux.ebpf import policy_maps as packed
from terway.linux.ebpf.policy_maps import MAP_FULL, NAMES, SIZE_KEY, PolicyMaps
from terway.linux.libbpf import load_object, read_object
from terway.model.address import Family
from terway.model.errors import TransientError
from terway.model.policy_maps import (
    NO_CLASS,
    NO_LANES,
    ClassNumber,
    Content,
    Generation,
    Lanes,
    PageOf,
    Pair,
    Prefix,
    RuleSetNumber,
    Turn,
    Word,
)
from terway.policy.bpf.paper import PaperMaps

ROOM = 4096
SOURCE = """
#include "policy.h"
SEC("tc") int only(struct __sk_buff *skb)
{
	struct passage *at = new_passage();

	return at ? judge(at, skb->mark) : 0;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""
HOST4, HOST6 = ip_address("10.0.0.1"), ip_address("fd00::1")
CONTENT = Content(
    generation=Generation(7),
    sides={
        5: Turn(Generation(7), NO_LANES, Lanes(*map(RuleSetNumber, (1, 2, 3, 4)))),
        6: Turn(Generation(3), Lanes(ingress=RuleSetNumber(9)), NO_LANES),
    },
    hosts={
        HOST4: Turn(Generation(7), NO_CLASS, ClassNumber(3)),
        HOST6: Turn(Generation(6), ClassNumber(2), NO_CLASS),
    },
    nets_turn=Turn(Generation(7), 1, 2),
    nets={
        Prefix(2, Family.V4, int(ip_address("10.0.0.0")), 8): ClassNumber(4),
        Prefix(2, Family.V6, int(ip_address("fd00::")), 64): ClassNumber(5),
        Prefix(1, Family.V4, 0, 0): ClassNumber(6),
    },
    verdicts={Pair(RuleSetNumber(1), ClassNumber(3)): Word(0x80000001)},
    pages={PageOf(1, 17, 0xFF): bytes(range(32))},
)


@pytest.fixture(scope="module")
def kernel_maps(tmp_path_factory) -> Iterator[PolicyMaps]:
    """Load the maps of bpf/policy.h, small ones."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "policy.bpf.c").write_text(SOURCE)
    headers = Path(__file__).parents[3] / "bpf"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu"]
    output = folder / "policy.bpf.o"
    command = ["clang", *flags, f"-I{headers}", "-c", folder / "policy.bpf.c", "-o", output]
    subprocess.run(command, check=True)
    sizes = {name: ROOM for name in NAMES[1:] if name != "policy_nets_turn"}
    loaded = load_object(read_object(output), max_entries={**sizes, "flows": 64, "pieces": 64})
    yield PolicyMaps({name: map_of(fd) for name, fd in loaded.maps.items()})
    loaded.close()


@pytest.fixture(params=["paper", pytest.param("kernel", marks=pytest.mark.root)])
def maps(request) -> Iterator[PaperMaps | PolicyMaps]:
    if request.param == "paper":
        yield PaperMaps()
        return
    found: PolicyMaps = request.getfixturevalue("kernel_maps")
    yield found
    found.remove(found.read().keys())


def test_what_was_put_is_read_and_counts_by_the_switch_alone(maps):
    before = maps.read().generation

    maps.put(CONTENT)

    assert maps.read().generation == before
    maps.switch(CONTENT.generation)
    assert maps.read() == CONTENT


def test_what_is_removed_is_gone_and_what_was_not_there_does_not_matter(maps):
    maps.put(CONTENT)

    maps.remove(CONTENT.keys() | {77, ip_address("10.9.9.9"), PageOf(8, 6, 1)})

    assert maps.read().keys() == frozenset()


def test_thousands_of_entries_go_in_and_out_whatever_the_map(maps):
    count = ROOM - 1
    many = Content(
        hosts={
            ip_address(0x0A000000 + n): Turn(Generation(1), NO_CLASS, ClassNumber(n))
            for n in range(count)
        },
        nets={Prefix(1, Family.V6, n << 64, 64): ClassNumber(n) for n in range(count)},
        verdicts={
            Pair(RuleSetNumber(n), ClassNumber(1)): Word(0xF0000000) for n in range(1, count)
        },
    )

    maps.put(many)

    found = maps.read()
    assert (found.hosts, found.nets, found.verdicts) == (many.hosts, many.nets, many.verdicts)
    maps.remove(many.keys())
    assert maps.read().keys() == frozenset()


def test_a_mark_is_another_after_another_changed_who_is_judged(maps):
    maps.put(CONTENT)
    before = maps.mark()

    assert maps.mark() == before
    maps.remove(frozenset({5}))
    assert maps.mark() != before


@pytest.mark.root
@pytest.mark.parametrize("name", ["hosts", "nets"])
def test_a_full_map_is_named_with_its_size_and_what_to_raise(kernel_maps, name):
    """bug class 54"""
    turn = Turn(Generation(1), NO_CLASS, ClassNumber(1))
    many = {
        "hosts": Content(hosts={ip_address(n): turn for n in range(1, ROOM + 2)}),
        "nets": Content(
            nets={Prefix(1, Family.V4, n, 32): ClassNumber(1) for n in range(ROOM + 1)}
        ),
    }

    with pytest.raises(TransientError) as refused:
        kernel_maps.put(many[name])

    assert refused.value.code == MAP_FULL
    for words in (f"policy_{name}", str(ROOM), SIZE_KEY):
        assert words in str(refused.value)
    kernel_maps.remove(kernel_maps.read().keys())


@pytest.mark.parametrize(
    ("ours", "layout"),
    [
        (packed.TURN, contract.POLICY_TURN),
        (packed.SIDES_TURN, contract.POLICY_SIDES),
        (packed.HOST, contract.ADDRESS_OF),
        (packed.PREFIX, contract.POLICY_NET),
        (packed.PAIR, contract.POLICY_PAIR),
        (packed.PAGE_OF, contract.POLICY_PAGE_OF),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_what_is_packed_by_the_thousand_has_the_size_of_the_contract(ours, layout):
    assert ours.size == layout.size
