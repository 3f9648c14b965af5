"""What does a restart cost with everything there? The real process, real sockets, real time.

this process: API server and OpenAPI on 127.0.0.1     terway-controlplane: a child, started now
                               ◄──── LIST, WATCH, PUT ────┤
                               ◄──── signed calls ────────┘
/metrics of the child says when every node was judged, /proc what it took
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.kubeapi.serve import Listener, open_listener
from terway.lab.kubeapi.server import create_kube_app
from terway.lab.scale.control import ctrl_config
from terway.lab.scale.world import ScaleWorld
from terway.model.errors import TransientError

_LOOK_EVERY_S = 0.25
_PATIENCE_S = 600.0
_HOST = "127.0.0.1"
_METRIC = re.compile(r'(\w+)\{controller="multi-ip-node"(?:,\w+="\w+")*\} (\S+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """A restart: seconds until every node was judged, CPU seconds, and memory in MB."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    peak_mb: float
    calls: Mapping[str, int]


async def restart(world: ScaleWorld) -> Resync:
    """Serve the world to a terway-controlplane that begins, until it has judged every node.

    Raises TransientError when it ends, or is not done in ten minutes.
    """
    world.clock = time.time
    world.limit()
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        async with _process(world, Path(folder)) as (process, metrics_url):
            began = time.monotonic()
            await _judged(world.plan.nodes, process, metrics_url)
            took_s = time.monotonic() - began
            return _taken(process.pid, took_s, world.cloud.calls.counts())


@asynccontextmanager
async def _process(
    world: ScaleWorld, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    kube = Listener(app=create_kube_app(world.state), host=_HOST)
    cloud = Listener(app=create_openapi_app(world.cloud), host=_HOST)
    async with open_listener(kube) as kube_port, open_listener(cloud) as cloud_port:
        metrics_port = _free_port()
        config = ctrl_config(world, {"metricsBindAddress": f"{_HOST}:{metrics_port}"})
        key = world.cloud.world.keyring.create_key("scale")
        words = _write_files(
            folder,
            config,
            {"accessKey": key.id, "accessSecret": key.secret},
            f"http://{_HOST}:{kube_port}",
        )
        endpoint = f"http://{_HOST}:{cloud_port}"
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *words,
                env={**os.environ, "ECS_ENDPOINT": endpoint, "VPC_ENDPOINT": endpoint},
                stdout=log,
                stderr=log,
            )
            try:
                yield process, f"http://{_HOST}:{metrics_port}/metrics"
            except TransientError as error:
                words_left = (folder / "log").read_text(errors="replace")[-2000:]
                raise TransientError(f"{error}; it said: {words_left}") from error
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()


def _write_files(
    folder: Path, config: Mapping[str, object], keys: Mapping[str, str], server: str
) -> tuple[str, ...]:
    """Write what the process reads; return its command line."""
    kubeconfig = {
        "current-context": "scale",
        "contexts": [{"name": "scale", "context": {"cluster": "scale"}}],
        "clusters": [{"name": "scale", "cluster": {"server": server}}],
    }
    texts = {"config": config, "credential": keys, "kubeconfig": kubeconfig}
    program = (sys.executable, "-m", "terway.controlplane.main", "--log-level", "warning")
    words = ["setpriv", "--pdeathsig", "KILL", *program]  # it ends with us
    for name, text in texts.items():
        path = folder / name
        path.write_text(json.dumps(text))
        words += [f"--{name}", str(path)]
    return tuple(words)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_HOST, 0))
        port: int = one.getsockname()[1]
        return port


async def _judged(nodes: int, process: asyncio.subprocess.Process, url: str) -> None:
    """Return once every node had a round, one more after the cloud was read, and none is due."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(_PATIENCE_S):
        while True:
            if process.returncode is not None:
                raise TransientError(f"terway-controlplane ended with {process.returncode}")
            found = await _metrics(session, url)
            rounds = found.get("controller_runtime_reconcile_total", 0.0)
            names = ("workqueue_depth", "controller_runtime_active_workers")
            if rounds >= 2 * nodes and not any(found.get(name) for name in names):
                return
            await asyncio.sleep(_LOOK_EVERY_S)


async def _metrics(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """Return what the pools' controller counts, by name; empty before it serves."""
    try:
        async with session.get(url) as answer:
            text = await answer.text()
    except aiohttp.ClientError:
        return {}
    found: dict[str, float] = {}
    for name, value in _METRIC.findall(text):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def _taken(pid: int, wall_s: float, calls: Mapping[str, int]) -> Resync:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Resync(
        wall_s=wall_s,
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        rss_mb=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
        peak_mb=int(status["VmHWM"].split()[0]) * 1024 / 1e6,
        calls=calls,
    )
