"""Every query of the dashboard and of the alerts is answered by a real Prometheus with series."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from terway.agent.call_metrics import CallMetrics
from terway.agent.policy.service import Outside, PolicyService
from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.lab.world.waiting import PATIENCE_S
from terway.model.errors import ThrottledError
from terway.model.ids import NodeName
from tests.support.emulated_node import emulated_cloud, in_process_terwayd
from tests.support.kernel_node import kernel_node, sh

pytestmark = pytest.mark.root

FOLDER = Path(__file__).resolve().parents[3] / "deploy/monitoring"
# The namespace is the test's own: so are its ports.
TERWAYD, PROMETHEUS = 9121, 9090
API = f"http://127.0.0.1:{PROMETHEUS}/api/v1"


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        yield machine


@asynccontextmanager
async def bridge(socket):
    """Answer on a port of the loopback link what the unix socket answers."""

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_unix_connection(socket)
        inner_writer.write(head)
        writer.write(await inner_reader.read())
        await writer.drain()
        for one in (inner_writer, writer):
            one.close()

    server = await asyncio.start_server(answer, "127.0.0.1", TERWAYD)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def prometheus(folder):
    """Let a Prometheus scrape the bridge for the block."""
    config = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "1s"},
        "scrape_configs": [
            {"job_name": "terway", "static_configs": [{"targets": [f"127.0.0.1:{TERWAYD}"]}]}
        ],
        "rule_files": [str(FOLDER / "terway-alerts.yaml")],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        "--log.level=error",
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def ask(session, query):
    """Return the series that answer `query`; fail when it is no query."""
    async with session.get(f"{API}/query", params={"query": query}) as answer:
        said = await answer.json()
    assert said["status"] == "success", (query, said)
    return said["data"]["result"]


async def series(session, query):
    """Return the series that answer `query` as soon as there are: a rate needs two scrapes."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await ask(session, query)):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.2)
    return found


async def has_scraped(session):
    """Wait until a rate can be told of two scrapes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                if await ask(session, 'rate(process_cpu_seconds_total{job="terway"}[10s])'):
                    return
            except aiohttp.ClientError:
                pass  # it is not up yet
            await asyncio.sleep(0.2)


def dashboard_queries():
    board = json.loads((FOLDER / "terway-dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def alert_queries():
    groups = yaml.safe_load((FOLDER / "terway-alerts.yaml").read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def metrics_of(query):
    return set(re.findall(r"\b(?:terway|aliyun|process)_\w+|\bup\b", query))


class Nobody:
    """Who is told, and does not listen."""

    def tell_node(self, reason, message):
        pass

    def tell(self, target, reason, message):
        pass


def policies_of_a_node():
    """Return who would enforce policies, were there an API server."""
    nowhere = KubeClient(Connection(server="unix:///nowhere"))
    node, told = NodeName("n1"), Nobody()
    return PolicyService(Outside(client=nowhere, node=node, tell_node=told, tell=told.tell))


async def exercise(daemon, machine):
    """Have every metric counted: pods come and go, one ADD fails, and so does the cloud."""
    calls = CallMetrics()
    daemon.terwayd.metrics.sources += [calls.metrics, policies_of_a_node().metrics]
    calls.openapi("CreateNetworkInterface", {}, 0.3, None)
    calls.openapi("CreateNetworkInterface", {}, 0.1, ThrottledError("Throttling"))
    calls.metadata(
        "/latest/meta-data/network/interfaces/macs/00:16:3e:00:00:01/gateway", 0.01, False
    )
    pod = machine.pod()
    for _ in range(2):
        assert (await daemon.node.run("ADD", CNI_NETNS=pod)).exit_code == 0
        assert (await daemon.node.run("DEL", CNI_NETNS=pod)).exit_code == 0
    assert (await daemon.node.run("ADD", CNI_NETNS="/run/netns/nothing")).exit_code == 1
    await daemon.terwayd.reconciled.wait()


async def test_every_query_is_answered(machine, tmp_path):
    async with (
        emulated_cloud(machine) as world,
        in_process_terwayd(world, tmp_path) as daemon,
        bridge(daemon.paths.run_dir / "eni_debug.socket"),
        prometheus(tmp_path),
        aiohttp.ClientSession() as session,
    ):
        await exercise(daemon, machine)
        await has_scraped(session)

        for title, query in dashboard_queries():
            asked = query.replace("$__rate_interval", "10s").replace("$instance", ".*")
            assert await series(session, asked), (title, asked)
        for alert, query in alert_queries():
            await ask(session, query)
            for name in metrics_of(query):
                assert await series(session, f"count({name})"), (alert, name)
        # A scrape that was too slow is no more than pending.
        assert await ask(session, 'ALERTS{alertname="TerwaydDown",alertstate="firing"}') == []


def test_alerts_fire_when_they_should_and_not_otherwise():
    assert shutil.which("promtool"), "Debian's package prometheus has it"
    done = subprocess.run(
        ["promtool", "test", "rules", "terway-alerts.test.yaml"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways():
    named = [alert for alert, _ in alert_queries()]
    tests = (FOLDER / "terway-alerts.test.yaml").read_text()

    for alert in named:
        assert f"alertname: {alert}," in tests
        assert f'alertname="{alert}"' in tests
