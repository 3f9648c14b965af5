"""Container runtimes leave empty cgroups behind, and those are the whole machine's."""

from __future__ import annotations

from tests.support.place import Place


async def remove_cgroups(node: Place, name: str) -> None:
    """Remove the cgroup `name` of every hierarchy, with the empty ones below it."""
    find = f"find /sys/fs/cgroup/*/{name} -depth -type d -exec rmdir {{}} +"
    await node.run("sh", "-c", f"{find} 2>/dev/null || true")
