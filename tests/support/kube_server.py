"""The lab's API server on a socket of its own, for tests of its clients."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from terway.kube.client import KubeClient
from terway.kube.connection import Connection, read_kubeconfig
from terway.lab.kubeapi.access import ADMIN, OPEN, Access, Identity
from terway.lab.kubeapi.faults import Fault, FaultPlan
from terway.lab.kubeapi.kubeconfig import write_kubeconfig
from terway.lab.kubeapi.logs import LogSource
from terway.lab.kubeapi.serve import Listener, open_listener
from terway.lab.kubeapi.server import create_kube_app
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.tls import make_identity

TOKEN, READER_TOKEN = "admin-token", "reader-token"
TOKENS = {TOKEN: ADMIN, READER_TOKEN: Identity(name="reader")}


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeServer:
    """A served cluster: by TLS with tokens, and by a unix socket for anybody."""

    state: ClusterState
    faults: FaultPlan
    kubeconfig: Path
    unix: Connection

    @property
    def tls(self) -> Connection:
        """The connection that the kubeconfig describes."""
        return read_kubeconfig(self.kubeconfig)

    def fail(self, *faults: Fault) -> None:
        """Plan faults."""
        self.faults.add(*faults)


@asynccontextmanager
async def open_kube_server(
    state: ClusterState, folder: Path, *, logs: LogSource | None = None
) -> AsyncIterator[KubeServer]:
    """Serve `state` for the time of the block."""
    faults = FaultPlan()
    identity = make_identity(["127.0.0.1", "localhost"], now=time.time())
    guarded = create_kube_app(state, access=Access(tokens=TOKENS), faults=faults, logs=logs)
    open_ = create_kube_app(state, access=OPEN, faults=faults, logs=logs)
    socket = folder / "kube.sock"
    tcp = Listener(app=guarded, host="127.0.0.1", tls=identity.ssl_context())
    async with (
        open_listener(tcp) as port,
        open_listener(Listener(app=open_, unix_path=socket)),
    ):
        kubeconfig = folder / "kubeconfig"
        server = f"https://127.0.0.1:{port}"
        write_kubeconfig(kubeconfig, server=server, ca_pem=identity.ca_pem, token=TOKEN)
        yield KubeServer(
            state=state,
            faults=faults,
            kubeconfig=kubeconfig,
            unix=Connection(server=f"unix://{socket}"),
        )


@asynccontextmanager
async def open_client(state: ClusterState, folder: Path) -> AsyncIterator[KubeClient]:
    """Give a client of a served cluster, for tests that need no more of the server."""
    async with open_kube_server(state, folder) as server, KubeClient(server.unix) as client:
        yield client
