"""Uninstalled, terwayd leaves nothing in a node's kernel but what running pods need."""

from __future__ import annotations

from pathlib import Path

import pytest

from terway.agent.options import parse_options
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.uninstall import uninstall
from terway.linux.netlink.socket import open_route_socket
from tests.support.datapath_node import DataPathNode
from tests.support.kernel_node import kernel_node, sh

pytestmark = pytest.mark.root


async def test_it_leaves_no_program_pin_queue_or_table_and_pods_go_on(tmp_path):
    with kernel_node() as machine:
        before = sh("nft list ruleset")
        node = DataPathNode(machine, tmp_path, Pins(Path("/sys/fs/bpf") / tmp_path.name))
        async with node.terwayd():
            (a, _), (_, b_has) = await node.add("a"), await node.add("b")

        with open_route_socket() as sock:
            assert uninstall(sock, node.pins)
            assert uninstall(sock, node.pins) == ()

        machine.ping(a, str(b_has.v4))
        machine.ping(a, str(b_has.v6))
        machine.ping(a, "192.168.0.10")
        assert not node.pins.root.exists()
        assert {line.split()[1] for line in sh("tc qdisc").splitlines()} == {"noqueue"}
        assert sh("nft list ruleset") == before


def test_it_is_asked_for_by_an_option_that_needs_no_node_name():
    assert parse_options(["--uninstall"], {}).is_uninstalling
