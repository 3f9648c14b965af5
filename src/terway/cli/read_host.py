"""What must a doctor know of the machine: features, files, programs, clocks, permissions, MTU?"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from terway.cli.place import Place, find_agents
from terway.cli.read_cloud import Cloud
from terway.cli.read_kube import find_connection
from terway.cli.snapshot import HostView
from terway.cloud.inspect import Permission, clock_skew_s
from terway.linux.apply import apply
from terway.linux.netns import create_netns, delete_netns
from terway.linux.path_mtu import probe_gateways
from terway.linux.session import open_session
from terway.model.address import Family
from terway.model.errors import VpcError
from terway.model.network import (
    CreateVeth,
    DeleteLink,
    LinkSettings,
    Netns,
    Operation,
    Put,
    Remove,
    RoutingRule,
)

_FILES = (
    "etc/systemd/network",
    "etc/NetworkManager/conf.d",
    "etc/cni/net.d",
    "etc/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
    "etc/systemd/system/multi-user.target.wants",
    "var/lib/cni/terway",
    "var/lib/cni/networks",
    "opt/cni/bin",
    "var/run/calico",
    "var/run/cilium",
)
_SINGLES = (
    "opt/cni/bin/terway",
    "etc/cni/net.d/10-terway.conflist",
    "var/lib/cni/terway/ResRelation.db",
    "proc/sys/net/netfilter/nf_conntrack_max",
)
_PROGRAMS = (
    "NetworkManager",
    "systemd-network",  # /proc/…/comm is cut to 15 letters
    "dhclient",
    "kube-proxy",
    "calico-node",
    "cilium-agent",
    "flanneld",
    "terwayd",
    "firewalld",
)
_TEXTS = (
    "etc/systemd/network",
    "etc/systemd/networkd.conf.d",
    "etc/NetworkManager/conf.d",
    "etc/cni/net.d",
    "etc/cloud/cloud.cfg.d",
)
_MAX_TEXT = 16_384
_NEARLY_FULL = 0.9


async def read_host(place: Place, cloud: Cloud | None, *, asks_cloud: bool = True) -> HostView:
    """Return what is found. Makes and removes a scratch namespace; everything else only reads.

    `asks_cloud` says whether this node calls the cloud itself, and so needs to be allowed to.
    """
    features = await asyncio.to_thread(probe_features)
    return HostView(
        kernel_release=os.uname().release,
        features=features,
        files=tuple(_files(place.root)),
        programs=tuple(_programs(Path("/proc"))),
        texts=_texts(place.root),
        clock_skew_s=await _skews(place, cloud),
        permissions=await _permissions(cloud) if asks_cloud else (),
        path_mtu_bytes=await asyncio.to_thread(probe_gateways),
        agents=tuple(sorted(find_agents(Path("/proc")))),
    )


def read_programs() -> HostView:
    """Return only which programs of interest run: who translates services, who manages links."""
    running = tuple(_programs(Path("/proc")))
    return HostView(kernel_release=os.uname().release, features={}, programs=running)


def probe_features() -> dict[str, str]:
    """Try in a scratch namespace what the node's part needs; "yes" or why not, by name."""
    path = f"/run/netns/terway-probe-{uuid.uuid4().hex[:8]}"
    try:
        create_netns(path)
    except VpcError as error:
        return {"network namespaces": str(error)}
    try:
        found = {"network namespaces": "yes"}
        found["veth"] = _try(_veth_into(path))
        for family in Family:
            found[f"policy routing IPv{family.value}"] = _try(_rule_in(path, family))
    finally:
        delete_netns(path)
    for name, file in (
        ("IPv6", "/proc/sys/net/ipv6"),
        ("conntrack", "/proc/sys/net/netfilter/nf_conntrack_max"),
        ("BPF file system", "/sys/fs/bpf"),
        ("BTF", "/sys/kernel/btf/vmlinux"),
    ):
        found[name] = "yes" if Path(file).exists() else f"{file} is not there"
    found["room for connections"] = room_for_connections(Path("/proc/sys/net/netfilter"))
    return found


def room_for_connections(folder: Path) -> str:
    """Return "yes", or how full the table of connections is: new ones are dropped when it is full.

    `folder` is that of netfilter's settings. Without connection tracking there is no table.
    """
    try:
        used, most = (
            int((folder / f"nf_conntrack_{name}").read_text()) for name in ("count", "max")
        )
    except (OSError, ValueError):
        return "yes"
    if not most or used < most * _NEARLY_FULL:  # 0 is without limit
        return "yes"
    return f"{used} of {most} entries are used; packets of new connections are dropped at {most}"


def _veth_into(path: str) -> tuple[Operation, ...]:
    name = f"tp{uuid.uuid4().hex[:8]}"
    ends = LinkSettings(name=name), LinkSettings(name="probe0")
    return (
        CreateVeth(host=ends[0], peer=ends[1], netns=Netns(path)),
        DeleteLink(name=name, now=True),
    )


def _rule_in(path: str, family: Family) -> tuple[Operation, ...]:
    rule = RoutingRule(family=family, priority=2048, table=1001)
    return Put(netns=Netns(path), object=rule), Remove(netns=Netns(path), object=rule)


def _try(operations: tuple[Operation, ...]) -> str:
    try:
        with open_session() as session:
            apply(operations, session)
    except VpcError as error:
        return str(error)
    return "yes"


def _files(root: Path) -> Iterable[str]:
    for folder in _FILES:
        path = root / folder
        if path.is_dir():
            yield from sorted(f"/{folder}/{one.name}" for one in path.iterdir() if _counts(one))
    for single in _SINGLES:
        if (root / single).exists():
            yield f"/{single}"


def _counts(path: Path) -> bool:
    """Return whether a file has an effect: udev and systemd mask one with a link to nowhere."""
    return not (path.is_symlink() and str(path.readlink()) == os.devnull)


def _texts(root: Path) -> dict[str, str]:
    """Return small files that say who manages links."""
    found: dict[str, str] = {}
    for folder in _TEXTS:
        path = root / folder
        for one in sorted(path.iterdir()) if path.is_dir() else ():
            if one.is_file() and one.stat().st_size <= _MAX_TEXT:
                found[f"/{folder}/{one.name}"] = one.read_text(errors="replace")
    return found


def _programs(proc: Path) -> Iterable[str]:
    names: set[str] = set()
    for folder in proc.glob("[0-9]*"):
        try:
            names.add((folder / "comm").read_text().strip())
        except OSError:
            continue  # it has ended
    return sorted(name for name in names if name in _PROGRAMS)


async def _permissions(cloud: Cloud | None) -> tuple[Permission, ...]:
    if cloud is None:
        return ()
    try:
        return await cloud.inspector.permissions()
    except VpcError as error:  # no keys at all
        return (Permission(action="(any)", is_allowed=None, answer=str(error)),)


async def _skews(place: Place, cloud: Cloud | None) -> dict[str, float]:
    """Return by how much our clock is ahead of the cloud's and the API server's."""
    if cloud is None:
        return {}
    found: dict[str, float] = {}
    endpoints = {"OpenAPI": cloud.ecs_endpoint}
    try:
        server = find_connection(place).server
    except VpcError:
        server = ""
    if server.startswith("http:"):
        endpoints["Kubernetes API"] = server
    for name, endpoint in endpoints.items():
        try:
            found[name] = await clock_skew_s(cloud.session, endpoint)
        except VpcError:
            continue  # whoever does not answer is a finding of its own
    return found
