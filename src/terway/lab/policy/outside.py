"""Where do the addresses outside of the cluster live? On a host to which the VPC's way out leads.

An instance in a network namespace of the lab's process, without a process in it: the VPC's default
routes lead there, its ENI may send from any address, and the lab's security group lets all in.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

from terway.lab.cloud.provision import add_route, authorize, disable_source_check
from terway.lab.node.spawner import raise_loopback
from terway.lab.world.lab import Lab
from terway.linux.netns import OWN_NETNS
from terway.model.address import Family
from terway.model.errors import TransientError

NAME = "internet"
_CLONE_NEWNET = 0x40000000
# A link-local address that is still being tried cannot ask for neighbours, on behalf of others.
_NO_DETECTION = tuple(
    Path("/proc/sys/net/ipv6/conf", name, "accept_dad") for name in ("all", "default")
)


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
