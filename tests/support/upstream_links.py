"""What upstream Terway makes in a kernel, by hand with iproute2 and not by our planners.

From the description of upstream's data paths (PolicyRoute): what takes a node over must fit what
is there, not what we would have made.
"""

from __future__ import annotations

import hashlib
import subprocess

from terway.model.address import IPAddress, IPPair
from terway.model.attachment import PodRef


def sh(command: str) -> str:
    """Run shell lines; raise with what they said when one fails."""
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def host_link(pod: PodRef) -> str:
    """Return the name of the node's end, as pkg/link/veth.go makes it."""
    return "cali" + hashlib.sha1(str(pod).replace("/", ".").encode()).hexdigest()[:11]


def mac_of(link: str, *, netns: str = "") -> str:
    """Return the MAC that a link has."""
    inside = f"nsenter --net={netns} " if netns else ""
    words = sh(f"{inside}ip -o link show {link}").split()
    return words[words.index("link/ether") + 1]


def configure_eni(ifname: str, table: int, gateways: IPPair, node: tuple[str, str]) -> None:
    """Give an ENI what PolicyRoute gives it; `node` are the node's own addresses."""
    sh(f"""
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
        sysctl -qw net.ipv4.conf.{ifname}.rp_filter=0
        ip link set {ifname} up
        ip address replace {node[0]}/32 dev {ifname}
        ip address replace {node[1]}/128 dev {ifname} nodad
        ip route replace default via {gateways.v4} dev {ifname} table {table} onlink
        ip route replace {gateways.v6}/128 dev {ifname}
        ip -6 route replace default via {gateways.v6} dev {ifname} table {table} onlink
    """)


def make_veth(netns: str, ref: PodRef, addresses: IPPair, *, ifname: str = "eth0") -> None:
    """Make a pod's veth; as its eth0 it has the default routes, too."""
    link, space = host_link(ref), netns.rpartition("/")[2]
    sh(f"ip link add {link} type veth peer name {ifname} netns {space}")
    sh(f"""
        sysctl -qw net.ipv4.conf.{link}.rp_filter=0
        ip link set {link} up
        ip -n {space} link set lo up
        ip netns exec {space} sysctl -qw net.ipv6.conf.{ifname}.accept_ra=0
        ip -n {space} address add {addresses.v4}/32 dev {ifname}
        ip -n {space} address add {addresses.v6}/128 dev {ifname} nodad
        ip -n {space} link set {ifname} up
        ip -n {space} neigh add 169.254.1.1 lladdr {mac_of(link)} dev {ifname} nud permanent
        ip -n {space} neigh add fe80::1 lladdr {mac_of(link)} dev {ifname} nud permanent
        ip route add {addresses.v4}/32 dev {link} scope link
        ip route add {addresses.v6}/128 dev {link}
    """)
    if ifname == "eth0":
        sh(f"""
            ip -n {space} route add default via 169.254.1.1 dev {ifname} onlink
            ip -n {space} -6 route add default via fe80::1 dev {ifname} onlink
        """)


def make_rules(address: IPAddress, table: int) -> None:
    """Lead a pod's packets, to it and from it."""
    family, bits = f"-{address.version}", address.max_prefixlen
    sh(f"""
        ip {family} rule add priority 512 to {address}/{bits} lookup main
        ip {family} rule add priority 2048 from {address}/{bits} lookup {table}
    """)


def remove_rules(address: IPAddress, table: int) -> None:
    """Take the rules of a pod away."""
    family, bits = f"-{address.version}", address.max_prefixlen
    sh(f"""
        ip {family} rule del priority 512 to {address}/{bits} lookup main
        ip {family} rule del priority 2048 from {address}/{bits} lookup {table}
    """)
