"""Where do the addresses outside of the cluster live? On a host to which the VPC's way out leads.

An instance in a network namespace of the lab's process, without a process in it: the VPC's default
routes lead there, its ENI may send from any address, and the lab's security group lets all in.

    outside = await outside_host(lab)
    await outside.add_address("203.0.113.7")
    flow = await outside.connect(vip, port=80, source="203.0.113.7")
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from terway.lab.cloud.provision import add_route, authorize, disable_source_check
from terway.lab.node.spawner import raise_loopback
from terway.lab.world.node import run_command
from terway.lab.world.pods import ANSWER_S, Flow
from terway.lab.world.running import Lab
from terway.lab.world.sockets import connect_in
from terway.linux.netns import OWN_NETNS
from terway.model.address import Family, IPAddress
from terway.model.errors import TransientError

NAME = "internet"
_CLONE_NEWNET = 0x40000000
# A link-local address that is still being tried cannot ask for neighbours, on behalf of others.
_NO_DETECTION = tuple(
    Path("/proc/sys/net/ipv6/conf", name, "accept_dad") for name in ("all", "default")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A host in the VPC that is neither node nor pod. `addresses` are those of its ENI."""

    netns_path: str
    addresses: tuple[IPAddress, ...]

    async def add_address(self, address: str) -> None:
        """Give the host another address, of any range: the VPC sends what is nobody's here."""
        length = ip_address(address).max_prefixlen
        await self.exec("ip", "address", "replace", f"{address}/{length}", "dev", "lo", "nodad")

    async def exec(self, *command: str, check: bool = True) -> str:
        """Run a command in the host's network and return its output; UsageError when it fails."""
        return await run_command(["nsenter", f"--net={self.netns_path}", *command], check=check)

    async def connect(
        self, address: IPAddress, *, port: int, source: str = "", timeout_s: float = ANSWER_S
    ) -> Flow:
        """Connect from here; from an address that was added, where one is named."""
        async with asyncio.timeout(timeout_s):
            return Flow(*await connect_in(self.netns_path, str(address), port, source=source))


async def outside_host(lab: Lab) -> Outside:
    """Return the host that is the rest of the world, made when it is asked for first."""
    path = await open_outside(lab)
    instance = lab.instances[NAME]
    addresses: tuple[IPAddress | None, ...] = (instance.ipv4, instance.ipv6)
    return Outside(netns_path=path, addresses=tuple(one for one in addresses if one is not None))


async def open_outside(lab: Lab) -> str:
    """Return the path of the host's network namespace, made when it is asked for first."""
    if NAME not in lab.instances:
        fd = await asyncio.to_thread(_new_netns)
        try:
            instance = await lab.attach_instance(NAME, f"/proc/{os.getpid()}/fd/{fd}")
        finally:
            os.close(fd)
        disable_source_check(lab.cloud, instance.primary_eni_id)
        vpc = lab.cloud.world.state.vpcs[lab.ground.vpc_id]
        ranges = {Family.V4: ("0.0.0.0/0", "SourceCidrIp"), Family.V6: ("::/0", "Ipv6SourceCidrIp")}
        for family in lab.plan.stack.families:
            cidr, field = ranges[family]
            add_route(lab.cloud, vpc.route_table_id, cidr, instance.id)
            rule = {"IpProtocol": "ALL", "PortRange": "-1/-1", field: cidr}
            authorize(lab.cloud, lab.ground.security_group_id, rule)
        await lab.fabric.apply(lab.cloud.vpc_state())
    return lab.netns_of(NAME)


def _new_netns() -> int:
    """Return a new network namespace, open. In a thread of its own: it stays in there."""
    home = os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(_CLONE_NEWNET):
            code = ctypes.get_errno()
            raise TransientError(f"making a network namespace: {os.strerror(code)}")
        try:
            raise_loopback()
            for sysctl in _NO_DETECTION:
                if sysctl.exists():  # a kernel without IPv6 has none
                    sysctl.write_text("0")
            return os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            libc.setns(home, _CLONE_NEWNET)
    finally:
        os.close(home)
