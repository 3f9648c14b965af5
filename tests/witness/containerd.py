"""containerd and `ctr` from Debian, started in a node with default paths."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.place import Place
from tests.witness.cgroups import remove_cgroups

# restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE in a machine that is itself a container,
# and runc then fails with "can't get final child's PID from pipe: EOF".
_CONFIG = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containerd:
    """A running containerd. Containers live in `namespace`, which names their cgroup too."""

    node: Place
    namespace: str
    rootfs: Path

    def cni_id(self, name: str) -> str:
        """Return the CNI_CONTAINERID of a container: ctr puts its namespace before the name."""
        return f"{self.namespace}-{name}"

    @asynccontextmanager
    async def container(self, name: str, *argv: str, ready: str) -> AsyncIterator[None]:
        """Keep a container running; killed on leaving, which is over when its DEL is."""
        async with self.node.server(*self._run_words(name, *argv), ready=ready) as ctr:
            yield
            await self._ctr("task", "kill", "-s", "KILL", name)
            await ctr.ended()

    async def run(self, name: str, *argv: str) -> str:
        """Run a container to its end and return its output."""
        with self._kept() as (kept, output):
            await self.node.run(*self._run_words(name, *kept, *argv))
            return output.read_text()

    async def exec(self, name: str, *argv: str) -> str:
        """Run a command in a container that runs."""
        with self._kept() as (kept, output):
            await self._ctr("task", "exec", "--exec-id", "witness", name, *kept, *argv)
            return output.read_text()

    @contextmanager
    def _kept(self) -> Iterator[tuple[tuple[str, ...], Path]]:
        """Give the words that keep a command's output in a file, and the file.

        `ctr` loses what a process said that ended before `ctr` had opened its pipe.
        """
        output = self.rootfs / "tmp" / uuid.uuid4().hex
        yield ("/bin/sh", "-c", f'exec "$@" > /tmp/{output.name}', "sh"), output
        output.unlink()

    def _run_words(self, name: str, *argv: str) -> tuple[str, ...]:
        run = ("ctr", "-n", self.namespace, "run", "--rm", "--cni", "--rootfs")
        return (*run, str(self.rootfs), name, *argv)

    async def _ctr(self, *argv: str) -> str:
        return await self.node.run("ctr", "-n", self.namespace, *argv)


@asynccontextmanager
async def open_containerd(
    node: Place, *, namespace: str, rootfs: Path
) -> AsyncIterator[Containerd]:
    """Run containerd in `node` and remove the cgroups of its containers afterwards."""
    conf = "/run/containerd-witness.toml"
    await node.run("sh", "-c", f"cat > {conf}", stdin=_CONFIG)
    try:
        async with node.server("containerd", "--config", conf, ready="successfully booted"):
            yield Containerd(node=node, namespace=namespace, rootfs=rootfs)
    finally:
        await remove_cgroups(node, namespace)
