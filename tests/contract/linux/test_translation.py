"""Whether somebody on the node translates destinations is seen, whichever tool they use."""

from __future__ import annotations

import pytest

from terway.linux.netns import create_netns, delete_netns, entered, open_netns
from terway.linux.nftables import run
from terway.linux.translation import translates_destinations

pytestmark = pytest.mark.root


@pytest.fixture
def in_a_node(tmp_path):
    path = str(tmp_path / "node")
    create_netns(path)
    with open_netns(path) as opened, entered(opened.fd):
        yield
    delete_netns(path)


def test_a_node_without_rules_translates_nothing(in_a_node):
    assert not translates_destinations()


def test_marking_and_masquerading_are_no_translation_of_destinations(in_a_node):
    run("add table ip ours; add chain ip ours pre { type filter hook prerouting priority mangle; }")
    run("add chain ip ours post { type nat hook postrouting priority srcnat; }")

    assert not translates_destinations()


@pytest.mark.parametrize("family", ["ip", "ip6", "inet"])
def test_a_chain_that_translates_what_comes_in_is_seen(in_a_node, family):
    run(f"add table {family} theirs")
    run(f"add chain {family} theirs pre {{ type nat hook prerouting priority dstnat; }}")

    assert translates_destinations()
