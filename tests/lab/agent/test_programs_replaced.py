"""Programs of other instructions, over the same maps and over others: packets go on as before."""

from __future__ import annotations

import asyncio
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.programs import OBJECT
from terway.linux.ebpf.removal import remove_datapath
from terway.linux.netlink.socket import open_route_socket
from terway.model.address import Family
from tests.lab.agent.test_datapath_of_a_node import connection, udp
from tests.support.counted import counted
from tests.support.datapath_node import DataPathNode, of
from tests.support.kernel_node import kernel_node

pytestmark = pytest.mark.root

_EACH = 2_000  # datagrams there and back with each terwayd
SOURCE = Path(__file__).parents[3] / "bpf" / "datapath.bpf.c"


@pytest.fixture(scope="module")
def other_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same C by a compiler that tries harder: programs have other instructions."""
    output = tmp_path_factory.mktemp("build") / "datapath.bpf.o"
    headers = f"-I/usr/include/{sysconfig.get_config_var('MULTIARCH')}"
    flags = ("-O3", "-g", "-target", "bpf", "-mcpu=v3", headers)
    subprocess.run(["clang", *flags, "-c", SOURCE, "-o", output], check=True)
    return output


@pytest.fixture
def node(tmp_path) -> Iterator[DataPathNode]:
    with kernel_node() as machine:
        made = DataPathNode(machine, tmp_path, Pins(Path("/sys/fs/bpf") / tmp_path.name))
        yield made
        with open_route_socket() as sock:
            remove_datapath(sock, made.pins)


def tags(node: DataPathNode) -> dict[str, str]:
    """Return what the kernel makes of each program's instructions."""
    assert node.running is not None
    assert node.running.kernel.datapath is not None
    programs = node.running.kernel.datapath.object.programs
    return {name: one.tag for name, one in programs.items()}


@pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
async def test_no_datagram_is_lost_and_no_connection_cut_by_programs_of_other_instructions(
    node, other_build, family
):
    """Bug classes 20 and 40: other instructions, and with every second terwayd other maps, too."""
    async with node.terwayd():
        last = tags(node)
        (a, a_has), (b, b_has) = await node.add("a"), await node.add("b")
    target = str(of(b_has, family)), 7000

    with (
        udp(a, of(a_has, family), 7001) as client,
        udp(b, *target) as server,
        connection(a, b, (of(b_has, family), 7002)) as (speaks, hears),
        counted(client, server, target) as flow,
    ):
        for turn, layout in enumerate((1, 1, 2, 2, 1)):
            build = OBJECT if turn % 2 else other_build
            async with node.terwayd(layout=layout, path=build):
                assert tags(node) != last
                last = tags(node)
                await asyncio.to_thread(flow.reached, _EACH * (turn + 1))
                speaks.sendall(b"still there")
                assert hears.recv(64) == b"still there"

    assert flow.lost == 0
