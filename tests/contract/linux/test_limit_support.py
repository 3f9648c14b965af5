"""What a kernel can hold limits by is found out by trying, and nothing of it stays."""

from __future__ import annotations

import pytest

from terway.linux.limit_support import read_limit_support
from terway.linux.netns import own_netns_inode
from tests.support.netns import ScratchNetns

pytestmark = pytest.mark.root


def test_what_is_found_is_what_tc_finds(netns: ScratchNetns) -> None:
    support = read_limit_support()

    by_tc = netns.run("tc qdisc replace dev lo root fq && echo yes || true", check=False)
    by_ip = netns.run("ip link add ifb9 type ifb && echo yes || true", check=False)
    assert (not support.pacing_lacks) == ("yes" in by_tc)
    assert (not support.sharing_lacks) == ("yes" in by_ip)


def test_the_node_is_as_it_was(netns: ScratchNetns) -> None:
    before = own_netns_inode(), netns.run("ip -o link; tc qdisc")

    read_limit_support()

    assert (own_netns_inode(), netns.run("ip -o link; tc qdisc")) == before


def test_what_is_missing_is_told_in_one_line() -> None:
    support = read_limit_support()

    assert "\n" not in support.pacing_lacks + support.sharing_lacks
