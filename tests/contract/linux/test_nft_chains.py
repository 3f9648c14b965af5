"""Which chains there are, in a network namespace that is the thread's own or another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from terway.linux.nft_chains import NftChain, list_chains
from terway.model.errors import ConflictError
from tests.support.netns import ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

OF_IPTABLES = NftChain(family="ip", table="filter", name="cali-FORWARD")
OURS = NftChain(family="inet", table="terway_policy", name="forward")


@pytest.fixture
def netns() -> Iterator[ScratchNetns]:
    with scratch_netns() as made:
        made.run("nft add table ip filter")
        made.run("nft add chain ip filter cali-FORWARD")
        made.run("nft add table inet terway_policy")
        made.run(
            "nft add chain inet terway_policy forward '{ type filter hook forward priority 0; }'"
        )
        yield made


def test_chains_of_all_families_are_listed(netns: ScratchNetns) -> None:
    with netns.entered():
        assert set(list_chains()) == {OF_IPTABLES, OURS}


def test_chains_of_another_namespace_are_listed(netns: ScratchNetns) -> None:
    assert set(list_chains(netns.path)) == {OF_IPTABLES, OURS}


def test_a_namespace_that_is_gone_is_a_conflict() -> None:
    with pytest.raises(ConflictError):
        list_chains("/run/netns/nobody")
