"""What does one node of a Flannel-style network look like? Commands and files, from values.

    vxlan   pod ─veth─ cni0 ─ flannel.1 ═ UDP 8472 between the nodes' addresses ═ flannel.1 ─ …
    vpc     pod ─veth─ cni0 ─ eth0 ─ VPC: route "block of node B" to instance B ─ eth0 ─ …

Source: github.com/flannel-io/flannel, Documentation/backends.md, Documentation/kubernetes.md, and
what `ip -d link`, `ip route`, `bridge fdb` show on a node that runs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from terway.model.errors import UsageError
from terway.model.ids import MacAddress

CLUSTER_NETWORK = IPv4Network("10.244.0.0/16")
BLOCK_PREFIX_LENGTH = 24  # of a node: 254 addresses, whether it has pods or not
BLOCK_PODS = 110  # the kubelet's own default, --max-pods
VXLAN_LINK = "flannel.1"
BRIDGE = "cni0"
_VNI, _PORT = 1, 8472
VXLAN_OVERHEAD_BYTES = 50  # outer Ethernet, IPv4, UDP and VXLAN headers

# Where Flannel's kube subnet manager publishes what the other nodes must know.
BACKEND_TYPE = "flannel.alpha.coreos.com/backend-type"
BACKEND_DATA = "flannel.alpha.coreos.com/backend-data"
PUBLIC_IP = "flannel.alpha.coreos.com/public-ip"
SUBNET_MANAGER = "flannel.alpha.coreos.com/kube-subnet-manager"


class Backend(Enum):
    """How a packet for another node's block gets there."""

    VXLAN = "vxlan"
    VPC = "vpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node of the network, as it is published. `vtep_mac` is of its VXLAN link."""

    name: str
    address: IPv4Address
    block: IPv4Network
    vtep_mac: MacAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The node itself: its own block, address and way out."""

    me: Peer
    uplink: str
    mtu_bytes: int
    backend: Backend

    @property
    def pod_mtu_bytes(self) -> int:
        """Return what fits into a packet of the node."""
        overhead = VXLAN_OVERHEAD_BYTES if self.backend is Backend.VXLAN else 0
        return self.mtu_bytes - overhead


def vtep_mac(node: str) -> MacAddress:
    """Return the MAC of a node's VXLAN link: made of its name, so that a restart keeps it."""
    digest = hashlib.sha256(node.encode()).digest()
    return MacAddress(":".join(f"{byte:02x}" for byte in (0xEE, *digest[:5])))


def node_annotations(me: Peer, backend: Backend) -> dict[str, str]:
    """Return what a node publishes of itself."""
    data = {"VNI": _VNI, "VtepMAC": me.vtep_mac} if backend is Backend.VXLAN else None
    return {
        BACKEND_TYPE: backend.value if backend is Backend.VXLAN else "alivpc",
        BACKEND_DATA: json.dumps(data),
        PUBLIC_IP: str(me.address),
        SUBNET_MANAGER: "true",
    }


def peer_of(name: str, block: str, published: dict[str, str]) -> Peer | None:
    """Return the peer that a Node shows, None while it has not published itself."""
    if not block or PUBLIC_IP not in published:
        return None
    data = json.loads(published.get(BACKEND_DATA, "null")) or {}
    try:
        return Peer(
            name=name,
            address=IPv4Address(published[PUBLIC_IP]),
            block=IPv4Network(block),
            vtep_mac=MacAddress(data.get("VtepMAC", "")),
        )
    except ValueError as error:
        raise UsageError(f"node {name}: {error}", field="metadata.annotations") from error


def setup_commands(ground: Ground) -> Iterator[str]:
    """Yield the lines of `ip -batch` that make the node's own part; each may be repeated."""
    if ground.backend is Backend.VPC:
        return
    me = ground.me
    yield (
        f"link add {VXLAN_LINK} address {me.vtep_mac} mtu {ground.pod_mtu_bytes} type vxlan "
        f"id {_VNI} local {me.address} dev {ground.uplink} dstport {_PORT} nolearning"
    )
    yield f"address replace {me.block.network_address}/32 dev {VXLAN_LINK}"
    yield f"link set {VXLAN_LINK} up"


def peer_commands(peers: Iterable[Peer]) -> Iterator[tuple[str, str]]:
    """Yield (program, line of its -batch) that lead to other nodes by VXLAN."""
    for peer in peers:
        gateway = peer.block.network_address
        yield (
            "ip",
            f"neighbour replace {gateway} dev {VXLAN_LINK} lladdr {peer.vtep_mac} nud permanent",
        )
        yield "bridge", f"fdb replace {peer.vtep_mac} dev {VXLAN_LINK} dst {peer.address}"
        yield "ip", f"route replace {peer.block} via {gateway} dev {VXLAN_LINK} onlink"


def masquerade(network: IPv4Network) -> str:
    """Return the nft table of `--ip-masq`: pods show the node's address outside the network."""
    return f"""
        table ip flannel
        delete table ip flannel
        table ip flannel {{
            chain postrouting {{
                type nat hook postrouting priority srcnat; policy accept;
                ip saddr {network} ip daddr {network} return
                ip saddr {network} ip daddr != 224.0.0.0/4 masquerade
            }}
        }}
    """


def conflist(ground: Ground) -> bytes:
    """Return the CNI configuration: Debian's bridge and host-local on the node's block."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "mtu": ground.pod_mtu_bytes,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": str(ground.me.block)}]]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    whole = {"name": "cbr0", "cniVersion": "1.0.0", "plugins": [bridge, portmap]}
    return json.dumps(whole, indent=2).encode()
