"""Where does the API server find the containers' logs? In the nodes' own file systems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from terway.lab.kubelet.logs import log_folder
from terway.lab.world.node import NodeHandle


class NodeLogs:
    """A `LogSource` over the lab's nodes."""

    def __init__(self, nodes: Mapping[str, NodeHandle]) -> None:
        self._nodes = nodes

    def log_path(
        self, *, node: str, namespace: str, pod: str, uid: str, container: str, previous: bool
    ) -> Path | None:
        """Return the newest log of a container, or with `previous` the one before it."""
        handle = self._nodes.get(node)
        if handle is None:
            return None
        folder = handle.inside(str(log_folder(namespace, pod, uid, container)))
        runs = sorted(folder.glob("*.log"), key=lambda path: int(path.stem))
        wanted = -2 if previous else -1
        return runs[wanted] if len(runs) >= -wanted else None
