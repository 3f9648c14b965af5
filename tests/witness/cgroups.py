"""Container runtimes leave empty cgroups behind, and those are the whole machine's."""

from __future__ import annotations

import asyncio

from tests.support.place import Place

_PATIENCE_S = 30.0


async def remove_cgroups(node: Place, name: str) -> None:
    """Remove the cgroup `name` of every hierarchy, with those below it, as they become empty.

    podman's monitor lives a moment longer than its container.
    """
    remove = f"find /sys/fs/cgroup/*/{name} -depth -type d -exec rmdir {{}} + 2>/dev/null"
    look = f"{remove}; ls -d /sys/fs/cgroup/*/{name} 2>/dev/null || true"
    async with asyncio.timeout(_PATIENCE_S):
        while await node.run("sh", "-c", look):
            pass  # looking takes long enough
