"""A member of a trunk that upstream made is taken over: its tags change hands under traffic."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace

import pytest

from terway.agent.paths import paths_under
from terway.agent.settling import Settling
from terway.cli.migrate_back import go_back
from terway.datapath.names import host_link_name
from terway.datapath.trunk import members_of
from terway.linux.netlink import traffic as traffic_control
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netlink.traffic import Hook
from terway.linux.shared_program import SharedProgram
from terway.linux.trunk import POP, PUSH, PUSH_PROGRAM
from terway.linux.trunk_contract import (
    POP_PROGRAM,
    pack_member,
    pack_number,
    pack_source,
)
from terway.linux.upstream_filters import read_lack
from terway.model.errors import UsageError
from terway.model.ids import MacAddress
from terway.model.interface import LinkMacs, Mode
from terway.store.records import Batch
from terway.store.sqlite import open_store
from terway.store.upstream import RELATIONS
from tests.support.flows_of_pods import traffic
from tests.support.trunk_node import (
    ELSEWHERE,
    NODE_PORT,
    ONE,
    TRUNK,
    TrunkNode,
    gateways_of,
    trunk_node,
)
from tests.support.upstream_node import filters_of, mac_of

pytestmark = pytest.mark.root


@pytest.fixture
async def node(tmp_path):
    async with trunk_node(tmp_path, Mode.VETH) as opened:
        yield opened


def for_ipv4(request, priority):
    """Return a filter's request for IPv4 alone: as upstream's, it sees no frame that has a tag."""
    info = struct.pack("=I", priority << 16 | socket.htons(0x0800))
    return replace(request, body=request.body[:16] + info + request.body[20:])


def put_filters(attachment):
    """Take tags off and put them on where upstream does: at 20000 and 50001."""
    pop = SharedProgram(POP, POP_PROGRAM, hook=Hook.INGRESS, priority=20000)
    push = SharedProgram(PUSH, PUSH_PROGRAM, hook=Hook.EGRESS, priority=50001)
    (member,) = members_of(attachment, "eth1")
    value = pack_member(member)
    number = socket.if_nametoindex("eth1")
    with open_route_socket() as sock:
        pop.open(sock).maps["members"].update(pack_number(ONE.vlan_id), value)
        for address in attachment.lease.addresses:
            push.open(sock).maps["sources"].update(pack_source(address), value)
        clsact, putting = push.attach(sock, number)
        for request in (*pop.attach(sock, number), clsact, for_ipv4(putting, 50001)):
            sock.request(request)


def remove_filters():
    with open_route_socket() as sock:
        number = socket.if_nametoindex("eth1")
        sock.request(traffic_control.remove_programs(number, Hook.INGRESS, priority=20000))
        sock.request(traffic_control.remove_programs(number, Hook.EGRESS, priority=50001))


def make_as_upstream(node: TrunkNode, attachment) -> LinkMacs:
    """Make what PolicyRoute makes of a member with `vlan_strip_type: filter`.

    Upstream's filters are u32 with actions on tags, which not every kernel has. In their places
    stand programs that do the same.
    """
    netns, link = attachment.netns, host_link_name(attachment.key, attachment.pod)
    address = attachment.lease.addresses.v4
    table = 1000 + socket.if_nametoindex("eth1")
    inside = f"nsenter --net={netns}"
    node.sh(f"ip link add {link} type veth peer name tmp0 && ip link set tmp0 netns {netns}")
    node.sh(f"""set -e
        ip link set {link} up
        {inside} ip link set tmp0 name eth0
        {inside} ip address add {address}/32 dev eth0
        {inside} ip link set eth0 up
        {inside} ip neigh add 169.254.1.1 lladdr {mac_of(link)} dev eth0 nud permanent
        {inside} ip route add default via 169.254.1.1 dev eth0 onlink
        ip route add {address}/32 dev {link} scope link
        ip link set eth1 up
        ip address add {NODE_PORT.ipv4[0]}/32 dev eth1
        ip route add default via {gateways_of(TRUNK).v4} dev eth1 table {table} onlink
        ip rule add priority 512 to {address} lookup main
        ip rule add priority 2048 from {address} lookup {table}
    """)
    put_filters(attachment)
    return LinkMacs(host=MacAddress(mac_of(link)), pod=MacAddress(mac_of("eth0", netns=netns)))


async def test_the_tags_of_a_member_change_hands_under_its_traffic(node):
    """Bug class 20: an upgrade meets what another version has made."""
    made = node.attachment("one", ONE)
    macs = make_as_upstream(node, made)
    taken = replace(made, spec=replace(made.spec, macs=macs))
    settling = Settling(node.kernel, node.network)

    other = ELSEWHERE.ipv4[0]
    async with traffic(made.netns, node.elsewhere.netns, other) as flow:
        await flow.goes_on()
        assert await settling.settle([taken]) == 1
        await flow.goes_on()
        remove_filters()
        await flow.goes_on()

    assert await settling.settle([taken]) == 0


async def test_a_member_that_cannot_go_back_is_named_and_nothing_is_changed(node, tmp_path):
    if not read_lack():
        pytest.skip("this kernel has upstream's filters: all members can go back")
    made = node.attachment("one", ONE)
    make_as_upstream(node, made)
    paths = paths_under(tmp_path)
    paths.make_folders()
    with open_store(paths.journal) as store:
        await store.write(Batch(put=(made,)))
    before = filters_of("eth1")

    with pytest.raises(UsageError, match="shop/one: it is a member of a trunk"):
        await go_back(paths)

    assert filters_of("eth1") == before
    assert paths.journal.exists()
    assert not (paths.state_dir / RELATIONS).exists()
