"""A map of the data path without room for another pod: its ADD is refused, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.removal import remove_datapath
from terway.linux.netlink.socket import open_route_socket
from terway.model.address import IPPair
from terway.model.attachment import Attachment
from tests.lab.agent.test_datapath_of_a_node import maps
from tests.support.cni import Node
from tests.support.datapath_node import DataPathNode
from tests.support.kernel_node import kernel_node, sh

pytestmark = pytest.mark.root


@pytest.fixture
def node(tmp_path) -> Iterator[DataPathNode]:
    with kernel_node() as machine:
        made = DataPathNode(machine, tmp_path, Pins(Path("/sys/fs/bpf") / tmp_path.name))
        yield made
        with open_route_socket() as sock:
            remove_datapath(sock, made.pins)


@pytest.mark.parametrize("name", ["endpoints", "links", "locals"])
async def test_a_pod_that_no_map_has_room_for_is_refused_by_the_maps_name(node, name):
    """Bug class 54."""
    async with node.terwayd() as running:
        _, first = await node.add("first")
        table = maps(node)[name]
        fillers = [
            (0x7FFF0000 + number).to_bytes(4, "big").rjust(table.key_size, b"\xfe")
            for number in range(table.max_entries - table.count())
        ]
        for key in fillers:
            table.update(key, bytes(table.value_bytes))
        links = host_links()

        said = await refused(node, "late")

        assert f"map {name} is full" in said.decode()
        assert host_links() == links

        for key in fillers:
            table.delete(key)
        second, addresses = await node.add("again")
        node.machine.ping(second, str(first.v4))
        assert await running.network.differences(attachment(node, addresses), pod_mac=None) == ()


def host_links() -> int:
    """Return how many host links there are, but for those that are about to be deleted."""
    return sh("ip -o link show group default").count("cali")


async def refused(node: DataPathNode, container: str) -> bytes:
    """Run ADD for a new pod; return what the plugin says, which fails."""
    netns = node.machine.pod()
    assert node.running is not None
    plugin = Node(folder=node.folder, pool=node.pool, network=node.running.network)
    async with plugin.terwayd():
        ran = await plugin.run("ADD", CNI_CONTAINERID=container, CNI_NETNS=netns)
    assert ran.exit_code != 0
    return ran.stdout


def attachment(node: DataPathNode, addresses: IPPair) -> Attachment:
    return next(one for one in node.pool.attachments() if one.lease.addresses == addresses)
