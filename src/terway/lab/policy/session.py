"""Who brings the lab for cases, and takes away what they leave? A running one is used again."""

from __future__ import annotations

import fcntl
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from terway.kube.client import KubeClient
from terway.kube.connection import Connection, read_kubeconfig
from terway.lab.policy.placement import LARGE_TYPE
from terway.lab.policy.stage import Stage
from terway.lab.policy.world import LabWorld
from terway.lab.world.client import LabClient, start_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, LabPlan, NodePool
from terway.model.address import Family
from terway.model.errors import UsageError

Progress = Callable[[str], None]
_NODES = 3


def find_lab(name: str, *, is_exclusive: bool, progress: Progress) -> LabClient:
    """Return a running lab, or bring one up that stays."""
    client = LabClient(name)
    if client.paths.is_alive():
        return client
    progress(f"no lab {name!r} is running: bringing one up, which stays")
    pool = NodePool(
        name="eni",
        nodes=_NODES if is_exclusive else 0,
        instance_type=LARGE_TYPE,
        labels=EXCLUSIVE_LABELS,
    )
    plan = LabPlan(name=name, nodes=0 if is_exclusive else _NODES, pools=(pool,))
    return start_lab(plan, progress)


@asynccontextmanager
async def open_stage(
    client: LabClient, *, is_exclusive: bool, family: Family | None, progress: Progress
) -> AsyncIterator[Stage]:
    """Open a lab for cases; its policies and labels are as before afterwards."""
    _allow_many_sockets()
    with _alone_in(client):
        async with KubeClient(_connection(client)) as kube:
            stage = Stage(
                LabWorld(client), kube, is_exclusive=is_exclusive, family=family, progress=progress
            )
            await stage.open()
            try:
                yield stage
            finally:
                await stage.close()


@contextmanager
def _alone_in(client: LabClient) -> Iterator[None]:
    """Keep others from running cases in the lab for the block: they would change the policies."""
    with (client.paths.folder / "policy.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"somebody runs policy cases in lab {client.paths.name!r} already; wait, or take "
                "another lab by --name",
                field="--name",
            ) from error
        yield


def _connection(client: LabClient) -> Connection:
    """Return the way to the lab's API server; with --kubeconfig it is somebody else's."""
    if client.paths.api_socket.exists():
        return Connection(server=f"unix://{client.paths.api_socket}")
    return read_kubeconfig(client.paths.kubeconfig)


def _allow_many_sockets() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
