"""A guest's side of a trunk: a pod in a namespace of its own for each member, joined by its tag."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hatch_build import WARNINGS

from terway.lab.vpc.contract import pack_u32
from terway.lab.vpc.state import Port
from terway.linux import bpf
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.linux.netlink import link, traffic
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import open_netns
from terway.model.eni import VSwitch
from terway.model.ids import ENIId
from tests.support.instances import (
    NODES,
    PODS,
    Instance,
    make_instance,
    remove_instance,
    socket_in,
)

SOURCE = Path(__file__).with_name("trunk.bpf.c")
VSWITCHES = {vswitch.id: vswitch for vswitch in (NODES, PODS)}
_SOL_PACKET, _PACKET_AUXDATA, _TP_STATUS_VLAN_VALID = 263, 8, 0x10
_AUXDATA = struct.Struct("=IIIHHHH")


@dataclass(slots=True, kw_only=True)
class TrunkGuest:
    """The instance that has the trunk, with the programs on it; pods by the ENI that is theirs."""

    node: Instance
    trunk: Port
    folder: Path
    loaded: LoadedObject
    routes: RouteSocket
    pods: dict[ENIId, Instance] = field(default_factory=dict)

    def join(self, eni: Port, *, vswitch: VSwitch | None = None) -> Instance:
        """Return a new pod with the member's MAC and addresses, which are of a test's vSwitches."""
        pod = make_instance(f"pod-{eni.eni_id}", self.folder)
        self.pods[eni.eni_id] = pod
        host = f"vlan{eni.vlan_id}"
        mtu = f"mtu {eni.mtu_bytes}"
        words = f"link add {host} {mtu} type veth peer name eth0 netns {pod.netns}"
        self.node.ip(f"{words} address {eni.mac} {mtu}")
        self.node.ip(f"link set {host} up")
        way = pack_u32(eni.vlan_id) + pack_u32(self._ifindex(self.trunk.ifname))
        self._map("ways").update(pack_u32(self._ifindex(host)), way)
        self._map("pods").update(pack_u32(eni.vlan_id), pack_u32(self._ifindex(host)))
        self.attach(host, "from_pod")
        pod.configure(replace(eni, ifname="eth0"), vswitch or VSWITCHES[eni.vswitch_id])
        return pod

    def attach(self, name: str, program: str) -> None:
        """Have a program see what comes in by a link of the node."""
        ifindex = self._ifindex(name)
        filtering = traffic.put_program(
            ifindex,
            traffic.Hook.INGRESS,
            program_fd=self.loaded.programs[program],
            name=program,
            priority=1,
        )
        self.routes.send((traffic.put_clsact(ifindex), filtering))

    def kinds(self) -> dict[int, int]:
        """Return how many tagged frames the kernel took for which kind of packet."""
        counts = self._map("kinds").items()
        read = {key[0]: int.from_bytes(value, "little") for key, value in counts.items()}
        return {kind: count for kind, count in read.items() if count}

    def _ifindex(self, name: str) -> int:
        found = self.routes.first(link.by_name(name))
        assert found is not None, name
        return found.ifindex

    def _map(self, name: str) -> bpf.Map:
        return bpf.map_of(self.loaded.maps[name])


@contextmanager
def open_trunk(node: Instance, trunk: Port, folder: Path) -> Iterator[TrunkGuest]:
    """Let the members of a trunk, which is plugged in, have pods, for the block."""
    with ExitStack() as stack:
        netns = stack.enter_context(open_netns(node.netns))
        routes = stack.enter_context(open_route_socket(netns.fd))
        loaded = load_object(read_object(build_trunk(folder)))
        stack.callback(loaded.close)
        guest = TrunkGuest(node=node, trunk=trunk, folder=folder, loaded=loaded, routes=routes)
        guest.attach(trunk.ifname, "from_trunk")
        try:
            yield guest
        finally:
            for pod in guest.pods.values():
                remove_instance(pod)


def build_trunk(folder: Path) -> Path:
    """Compile the programs."""
    output = folder / "trunk.bpf.o"
    flags = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu")
    subprocess.run(["clang", *flags, *WARNINGS, "-c", SOURCE, "-o", output], check=True)
    return output


def packet_socket(instance: Instance, ifname: str) -> socket.socket:
    """Return a socket for whole frames of a link, which tells of their tags."""
    made = socket_in(instance.netns, socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
    made.bind((ifname, 3))
    made.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    made.settimeout(20)
    return made


def receive_tagged(opened: socket.socket) -> tuple[int, bytes]:
    """Return the tag and the bytes of the next frame that comes in with a tag."""
    while True:
        frame, messages, _, source = opened.recvmsg(2048, 256)
        outgoing = source[2] == socket.PACKET_OUTGOING
        for _, _, told in messages:
            status, _, _, _, _, tag, _ = _AUXDATA.unpack(told[: _AUXDATA.size])
            if status & _TP_STATUS_VLAN_VALID and not outgoing:
                return tag, frame
