"""A cluster that moves: served, with its controllers and kubelets that run nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from terway.lab.kubeapi.controllers.runner import run_controllers
from terway.lab.kubeapi.manifests import bootstrap
from terway.lab.kubeapi.state import ClusterState
from tests.support.kube_server import KubeServer, open_kube_server
from tests.support.paper_kubelet import add_node, run_kubelets


class FolderLogs:
    """A LogSource with one folder for everything: <pod>-<container>.log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_path(
        self, *, node: str, namespace: str, pod: str, uid: str, container: str, previous: bool
    ) -> Path | None:
        """Return the file, whether it is there or not."""
        return self.folder / f"{pod}-{container}{'-previous' * previous}.log"


@asynccontextmanager
async def open_live_cluster(folder: Path) -> AsyncIterator[KubeServer]:
    """Run a cluster of two nodes for the time of the block, by the real clock."""
    state = ClusterState(clock=time.time, rng=Random(7))
    bootstrap(state)
    for name in ("node-1", "node-2"):
        add_node(state, name)
    async with (
        open_kube_server(state, folder, logs=FolderLogs(folder)) as server,
        asyncio.TaskGroup() as tasks,
    ):
        running = [
            tasks.create_task(run_controllers(state)),
            tasks.create_task(run_kubelets(state)),
        ]
        try:
            yield server
        finally:
            for task in running:
                task.cancel()
