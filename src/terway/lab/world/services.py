"""Where does each of the lab's servers listen?

                  nodes and pods, through the fabric     the user's own tools
metadata          100.100.100.200:80                     -
OpenAPI           100.100.0.10:80                        127.0.0.1
Kubernetes API    100.100.0.20:6443                      127.0.0.1 and <lab>/api.sock
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from aiohttp import web

from terway.kube.connection import Connection, read_kubeconfig
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.metadata_http import create_metadata_app
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.kubeapi.access import ADMIN, OPEN, Access
from terway.lab.kubeapi.kubeconfig import make_kubeconfig, write_kubeconfig
from terway.lab.kubeapi.logs import LogSource
from terway.lab.kubeapi.manifests import bootstrap
from terway.lab.kubeapi.serve import Listener, open_listener
from terway.lab.kubeapi.server import create_kube_app
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.tls import make_identity
from terway.lab.world.paths import LabPaths
from terway.lab.world.plan import KUBE_API, KUBE_API_PORT, METADATA, OPENAPI, LabPlan
from terway.lab.world.proxy import open_proxy
from terway.lab.world.sockets import listen_in, socket_in

HTTP = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What is served, and how to reach it from outside the VPC."""

    openapi_url: str
    access_key_id: str
    access_key_secret: str
    kube: Connection
    kubeconfig_path: Path
    node_kubeconfig: str  # text, for the nodes
    cluster: ClusterState | None  # None with another API server than the embedded one


async def open_services(
    stack: AsyncExitStack,
    *,
    plan: LabPlan,
    paths: LabPaths,
    cloud: Cloud,
    services_netns: str,
    logs: LogSource,
) -> Services:
    """Open every server; they are closed with `stack`, their sockets after them."""
    metadata = stack.enter_context(closing(await listen_in(services_netns, METADATA, HTTP)))
    await stack.enter_async_context(
        open_listener(Listener(app=create_metadata_app(cloud), sock=metadata))
    )
    openapi_url = await _open_openapi(stack, cloud, services_netns)
    key = cloud.world.keyring.create_key("lab-user")
    kube = await _open_kube(stack, plan, paths, services_netns, logs)
    return Services(
        openapi_url=openapi_url,
        access_key_id=key.id,
        access_key_secret=key.secret,
        kube=kube.connection,
        kubeconfig_path=kube.kubeconfig_path,
        node_kubeconfig=kube.node_kubeconfig,
        cluster=kube.cluster,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kube:
    connection: Connection
    kubeconfig_path: Path
    node_kubeconfig: str
    cluster: ClusterState | None


async def _open_openapi(stack: AsyncExitStack, cloud: Cloud, services_netns: str) -> str:
    inside = stack.enter_context(closing(await listen_in(services_netns, OPENAPI, HTTP)))
    # One application, and so one keeper of the cloud's time, behind both listeners.
    runner = web.AppRunner(create_openapi_app(cloud), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, inside).start()
    outside = web.TCPSite(runner, "127.0.0.1", 0)
    await outside.start()
    return f"http://127.0.0.1:{runner.addresses[1][1]}"


async def _open_kube(
    stack: AsyncExitStack, plan: LabPlan, paths: LabPaths, services_netns: str, logs: LogSource
) -> _Kube:
    listening = await listen_in(services_netns, KUBE_API, KUBE_API_PORT)
    inside = stack.enter_context(closing(listening))
    if plan.kubeconfig:
        path = Path(plan.kubeconfig)
        connection = read_kubeconfig(path)
        await stack.enter_async_context(open_proxy(inside, connection.server))
        text = _by_way_of_the_proxy(connection)
        return _Kube(
            connection=connection, kubeconfig_path=path, node_kubeconfig=text, cluster=None
        )
    ranges = ",".join(map(str, plan.service_cidrs))
    cluster = ClusterState(
        clock=time.time,
        rng=Random(),
        service_cidr=ranges,
        dial_webhook=partial(socket_in, services_netns),
    )
    bootstrap(cluster, api_server=(str(KUBE_API), KUBE_API_PORT))
    token = secrets.token_urlsafe(24)
    guarded = Access(tokens={token: ADMIN})
    # kubectl sends a token over TLS only.
    identity = make_identity((str(KUBE_API), "127.0.0.1", "localhost"), now=time.time())
    tls = identity.ssl_context()

    def guarded_app() -> web.Application:
        return create_kube_app(cluster, access=guarded, logs=logs)

    nodes = Listener(app=guarded_app(), sock=inside, tls=tls)
    users = Listener(app=guarded_app(), host="127.0.0.1", tls=tls)
    ours = Listener(
        app=create_kube_app(cluster, access=OPEN, logs=logs), unix_path=paths.api_socket
    )
    await stack.enter_async_context(open_listener(nodes))
    await stack.enter_async_context(open_listener(ours))
    port = await stack.enter_async_context(open_listener(users))
    fields = {"token": token, "name": f"terway-lab-{plan.name}", "ca_pem": identity.ca_pem}
    write_kubeconfig(paths.kubeconfig, server=f"https://127.0.0.1:{port}", **fields)
    server = f"https://{KUBE_API}:{KUBE_API_PORT}"
    return _Kube(
        connection=Connection(server=f"unix://{paths.api_socket}"),
        kubeconfig_path=paths.kubeconfig,
        node_kubeconfig=json.dumps(make_kubeconfig(server=server, **fields)),
        cluster=cluster,
    )


def _by_way_of_the_proxy(connection: Connection) -> str:
    """Return a kubeconfig for the same server and identity, with the lab's address for it."""
    scheme, _, rest = connection.server.partition("://")
    host = rest.partition("/")[0].rpartition(":")[0] or rest.partition("/")[0]
    token = connection.bearer_token()
    config = make_kubeconfig(
        server=f"{scheme}://{KUBE_API}:{KUBE_API_PORT}", ca_pem=connection.ca_pem, token=token
    )
    cluster = config["clusters"][0]["cluster"]
    if scheme == "https":
        cluster["tls-server-name"] = connection.server_hostname or host.strip("[]")
    if connection.insecure:
        cluster["insecure-skip-tls-verify"] = True
    user = config["users"][0]["user"]
    if connection.client_cert_pem:
        user["client-certificate-data"] = _base64(connection.client_cert_pem)
        user["client-key-data"] = _base64(connection.client_key_pem)
    return json.dumps(config)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
