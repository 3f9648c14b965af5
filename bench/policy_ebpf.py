"""How does a policy get into a node whose data path is in eBPF? By maps of the programs there."""

from __future__ import annotations

import asyncio
from contextlib import closing
from ipaddress import IPv4Address

from tests.support.netns import ScratchNetns

from bench.policy_world import CLIENT_ADDRESS, SERVER, SERVER_ADDRESS
from terway.bpf_objects import object_path
from terway.linux.bpf import Map, map_of
from terway.linux.ebpf.entries import pack_address_of, pack_endpoint, pack_number
from terway.linux.ebpf.hooks import POD_HOOKS, put_filters
from terway.linux.ebpf.policy_maps import PolicyMaps
from terway.linux.ebpf.programs import EntryPoint
from terway.linux.libbpf import load_object, read_object
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import open_netns
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.errors import BugError
from terway.model.ids import MacAddress
from terway.model.policy_maps import Content
from terway.policy.bpf.writer import Writer
from terway.policy.compiled import Compiled

CLIENT_LINK = "eth1"
CONNECTIONS = 65_536


def pod_mac_of(address: IPv4Address) -> MacAddress:
    """Return the MAC of a pod's end."""
    return MacAddress(f"02:00:{address.packed.hex(':')}")


def link_mac_of(address: IPv4Address) -> MacAddress:
    """Return the MAC of the node's end of a pod's link."""
    return MacAddress(f"02:01:{address.packed.hex(':')}")


async def put_up_ebpf(node: ScratchNetns, compiled: Compiled, server_link: str) -> None:
    """Load the data path for both ends, and have its maps judge the server."""
    await asyncio.to_thread(_put_up, node, compiled, server_link)


def _put_up(node: ScratchNetns, compiled: Compiled, server_link: str) -> None:
    sizes = {"flows": CONNECTIONS, "choices": CONNECTIONS}
    with closing(load_object(read_object(object_path("datapath")), max_entries=sizes)) as loaded:
        maps = {name: map_of(fd) for name, fd in loaded.maps.items()}
        programs = {
            name: EntryPoint(fd=fd, number=0, tag="") for name, fd in loaded.programs.items()
        }
        server = _endpoint(1, SERVER_ADDRESS)
        _judge(PolicyMaps(maps), compiled, server)
        with open_netns(node.path) as opened, open_route_socket(opened.fd) as sock:
            client = _endpoint(2, CLIENT_ADDRESS)
            for one, link in ((server, server_link), (client, CLIENT_LINK)):
                ifindex = sock.index_of(link)
                if ifindex is None:
                    raise BugError(f"{link} is not there")
                _enrol(maps, one, ifindex)
                sock.send(put_filters(ifindex, programs, POD_HOOKS))


def _endpoint(number: int, address: IPv4Address) -> Endpoint:
    return Endpoint(
        number=EndpointNumber(number),
        kind=EndpointKind.VETH,
        addresses=IPPair(v4=address),
        pod_mac=pod_mac_of(address),
        link_mac=link_mac_of(address),
    )


def _enrol(maps: dict[str, Map], endpoint: Endpoint, ifindex: int) -> None:
    number = pack_number(endpoint.number)
    maps["endpoints"].update(number, pack_endpoint(endpoint, ifindex))
    maps["links"].update(pack_number(ifindex), number)
    for address in endpoint.addresses:
        maps["locals"].update(pack_address_of(address), number)


def _judge(maps: PolicyMaps, compiled: Compiled, server: Endpoint) -> None:
    steps = Writer().adopt(compiled, {SERVER: (server.number,)}, Content())
    maps.put(steps.make)
    if steps.switch is not None:
        maps.switch(steps.switch)
