"""podman from Debian with its CNI backend, used in a node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.place import Place
from tests.witness.cgroups import remove_cgroups

# nofile and nproc: podman asks for a million of each, which takes CAP_SYS_RESOURCE.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
"""

_STORAGE_CONF = """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """podman, whose containers have a cgroup below `cgroup`."""

    node: Place
    cgroup: str
    rootfs: Path

    @asynccontextmanager
    async def container(
        self, name: str, *argv: str, network: str, options: tuple[str, ...] = ()
    ) -> AsyncIterator[str]:
        """Keep a container running and give its id; removed on leaving, its DEL done."""
        start = ("podman", "run", "--detach", "--cgroup-parent", self.cgroup, "--name", name)
        words = ("--network", network, *options, "--rootfs", str(self.rootfs))
        identity = await self.node.run(*start, *words, *argv)
        try:
            yield identity.strip()
        finally:
            await self.node.run("podman", "rm", "--force", "--time", "0", name)

    async def exec(self, name: str, *argv: str) -> str:
        """Run a command in a container that runs."""
        return await self.node.run("podman", "exec", name, *argv)

    async def restart(self, name: str) -> None:
        """Restart a container: DEL, then ADD, of the same container id."""
        await self.node.run("podman", "restart", "--time", "0", name)


@asynccontextmanager
async def open_podman(node: Place, *, cgroup: str, rootfs: Path) -> AsyncIterator[Podman]:
    """Configure podman in `node` and remove the cgroups of its containers afterwards."""
    for name, text in (("containers", _CONTAINERS_CONF), ("storage", _STORAGE_CONF)):
        await node.run("sh", "-c", f"cat > /run/witness-{name}.conf", stdin=text)
    place = node.with_env(
        CONTAINERS_CONF="/run/witness-containers.conf",
        CONTAINERS_STORAGE_CONF="/run/witness-storage.conf",
    )
    try:
        yield Podman(node=place, cgroup=cgroup, rootfs=rootfs)
    finally:
        await remove_cgroups(node, cgroup)
