"""Uninstalled, terwayd leaves nothing in a node's kernel but what running pods need."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from terway.agent.main import leave
from terway.agent.options import parse_options
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.uninstall import uninstall
from terway.linux.kernel import open_kernel
from terway.linux.netlink.socket import open_route_socket
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.network import NODE, Netns, Put
from terway.model.programs import InnerPrograms, PodPrograms
from terway.store.records import Batch
from terway.store.sqlite import open_store
from tests.support.attachments import attachment
from tests.support.datapath_node import SIZES, DataPathNode
from tests.support.kernel_node import kernel_node, sh
from tests.support.netns import scratch_netns

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


async def test_nothing_is_left_inside_the_pods_of_the_journal_either(tmp_path):
    number = EndpointNumber(7)
    owned = IPPair(v4=IPv4Address("10.0.0.1"))
    leg = Endpoint(number=number, kind=EndpointKind.EXCLUSIVE, addresses=owned)
    inner = InnerPrograms(link="eth0", number=number, leg="veth1")
    pins = Pins(Path("/sys/fs/bpf") / tmp_path.name)
    options = parse_options(["--uninstall", "--root", str(tmp_path)], {})
    options = replace(options, paths=replace(options.paths, pins=pins.root))
    options.paths.make_folders()
    with scratch_netns("node") as node, scratch_netns("pod") as pod, node.entered():
        with open_store(options.paths.journal) as store:
            gone = attachment(2, netns="/run/netns/gone")
            await store.write(Batch(put=(attachment(1, netns=pod.path), gone)))
        pod.run("ip link add eth0 type veth peer name far; ip link add veth1 type veth peer name x")
        pod.run("nft add table inet terway_policy; nft add table inet own")
        node.run("ip link add leg0 type veth peer name other0")
        async with open_kernel() as kernel:
            datapath = await kernel.open_datapath(pins, SIZES)
            datapath.object.settle()
            in_node = Put(netns=NODE, object=PodPrograms(link="leg0", endpoint=leg))
            await kernel.apply([in_node, Put(netns=Netns(pod.path), object=inner)])
            datapath.object.close()
        assert "clsact" in pod.run("tc qdisc")

        await leave(options)

        assert "clsact" not in pod.run("tc qdisc")
        assert "clsact" not in node.run("tc qdisc")
        assert pod.run("nft list tables").split() == ["table", "inet", "own"]
        assert not pins.root.exists()


def test_it_is_asked_for_by_an_option_that_needs_no_node_name():
    assert parse_options(["--uninstall"], {}).is_uninstalling
