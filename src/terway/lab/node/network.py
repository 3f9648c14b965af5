"""How does eth0 of a node get its addresses? As cloud-init configures a primary ENI.

The fabric plugs eth0 in without an address, as a hypervisor would. Address with the vSwitch's
mask, default route by its gateway, in both families; no duplicate address detection: the cloud
gives no address twice, and a second of waiting would be all that it brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from terway.lab.node.spec import NodeSpec
from terway.model.errors import TransientError

_SYSCTLS = {
    "net/ipv6/conf/eth0/accept_dad": "0",
    "net/ipv6/conf/eth0/accept_ra": "0",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/eth0/disable_ipv6": "0",
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
}


def eth0_commands(
    addresses: Sequence[str], gateways: Sequence[str], *, mtu_bytes: int
) -> list[str]:
    """Return the lines for ``ip -batch``."""
    lines = [f"link set eth0 mtu {mtu_bytes} up"]
    for address in addresses:
        nodad = " nodad" if ":" in address else ""
        lines.append(f"address replace {address} dev eth0{nodad}")
    lines += [f"route replace default via {gateway} dev eth0" for gateway in gateways]
    return lines


async def configure_eth0(spec: NodeSpec) -> None:
    """Bring eth0 up with its addresses and routes; idempotent."""
    _write_sysctls()
    lines = eth0_commands(spec.addresses, spec.gateways, mtu_bytes=spec.mtu_bytes)
    await _ip_batch(lines)


def _write_sysctls() -> None:
    for name, value in _SYSCTLS.items():
        path = Path("/proc/sys", name)
        if path.exists():  # a kernel without IPv6 has none of its files
            path.write_text(value)


async def _ip_batch(lines: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        "ip",
        "-batch",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate("\n".join(lines).encode() + b"\n")
    if process.returncode != 0:
        raise TransientError(f"configuring eth0: {stderr.decode(errors='replace').strip()}")
