"""terway-cli on nodes whose pods go by the eBPF data path: real packets, losses and faults."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, ip_address

import pytest
import pytest_asyncio

from terway.datapath.happening import Happened, LeftOut, Place, What, read_line
from terway.lab.toolbox import ECHO_PORT
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.lab.world.waiting import PATIENCE_S
from terway.linux.netns import entered, open_netns
from terway.model.address import Family
from tests.lab.test_cli import nobody_mends, run, why
from tests.lab.test_services_of_pods import connect_soon

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

_LATER = 185  # of a fragment: eighths of a kilobyte and a half


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    name, pool = f"s{uuid.uuid4().hex[:8]}", NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
    cni = {"eniip_virtual_type": "datapathv2"}
    async with open_lab(name=name, nodes=2, pools=(pool,), cni=cni) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "node-1", "near": "node-1", "far": "node-2", "own": "eni-1", "beside": "eni-1"}
    made = await asyncio.gather(
        *(lab.pod(name, node=node, labels={"app": name}) for name, node in places.items())
    )
    return {pod.name: pod for pod in made}


class Monitor:
    """A `terway-cli monitor --json` that runs."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines

    async def next(self) -> Happened | LeftOut:
        async with asyncio.timeout(PATIENCE_S):
            return read_line((await self._lines.readline()).decode())

    async def happened(self, what: What, pod: str) -> Happened:
        """Return the next record of that kind that a pod sent, or at its link."""
        while True:
            one = await self.next()
            if (
                isinstance(one, Happened)
                and one.what is what
                and pod in (one.pod, _name(one.source))
            ):
                return one


def _name(end: Place | None) -> str:
    return "" if end is None else end.name


@asynccontextmanager
async def monitoring(lab: Lab, *words: str) -> AsyncIterator[Monitor]:
    """Run terway-cli monitor on node-1 for the block; it has begun when the block does."""
    # `nsenter` passes no signals on: what it starts asks to be killed when it goes.
    dying = ("setpriv", "--pdeathsig", "KILL")
    command = (*dying, sys.executable, "-m", "terway.cli", "monitor", "--json", *words)
    process = await asyncio.create_subprocess_exec(
        *lab.node("node-1").words(command), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    monitor = Monitor(process.stdout)
    try:
        assert isinstance(await monitor.next(), LeftOut)  # "from here on"
        yield monitor
    finally:
        with suppress(ProcessLookupError):  # it has said why, and ended
            process.kill()
        await process.wait()


def send_later_fragment(netns: str, source: IPv4Address, target: IPv4Address) -> None:
    """Send from within a pod a fragment whose first one nobody has seen. Blocking."""
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28, 7, _LATER, 64, 17, 0, source.packed, target.packed
    )
    with open_netns(netns) as opened, entered(opened.fd):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        raw.sendto(head + bytes(8), (str(target), 0))


@pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
async def test_a_connection_is_shown_when_it_opens_and_when_it_ends(lab, pods, family):
    target = pods["near"].address(family)
    async with monitoring(lab, "--flows", "--pod", "near") as monitor:
        await pods["a"].tool("whoami", str(target))
        opened = await monitor.happened(What.OPEN, "default/a")
        closed = await monitor.happened(What.CLOSE, "default/a")

    for one in (opened, closed):
        assert one.destination is not None
        assert (one.destination.address, one.destination.name) == (target, "default/near")
        assert one.protocol == "TCP"


async def test_a_lost_packet_is_shown_with_its_reason_and_counted(lab, pods):
    """bug class 54: what is refused is seen."""
    own, far = (pods[name].address(Family.V4) for name in ("a", "far"))
    async with monitoring(lab, "--drops") as monitor:
        await asyncio.to_thread(send_later_fragment, pods["a"].netns_path, own, far)
        lost = await monitor.happened(What.LOSS, "default/a")

    assert (lost.pod, lost.reason) == ("default/a", "fragment")
    drops = (await run(lab, "drops", "--pod", "a", "--json")).value
    assert [(one["by"], one["reason"], one["packets"]) for one in drops] == [
        ("data path", "fragment", 1)
    ]
    metrics = (await run(lab, "metrics")).output
    assert '1.0  terway_datapath_drops_total{pod="default/a",reason="fragment"}' in metrics


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("end", ["near", "far"])
async def test_a_packet_that_arrives_is_walked_past_the_nodes_stack(lab, pods, end, family):
    hops = await why(lab, "a", f"{end}:8080", "--family", family)

    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    past = "straight into its namespace" if end == "near" else "past the node's stack"
    assert any(one["where"] == "data path" and past in one["text"] for one in hops)


@pytest.mark.parametrize(
    ("end", "family"),
    [
        *((end, family) for end in ("beside:7000", "far:7000", "eni-1") for family in ("4", "6")),
        ("svc/kubernetes:443", "4"),
    ],
)
async def test_a_packet_of_a_pod_with_an_eni_of_its_own_is_walked(lab, pods, end, family):
    hops = await why(lab, "own", end, "--family", family, node="eni-1")

    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    assert any(one["where"] == "data path" and "(exclusive)" in one["text"] for one in hops)


async def test_a_service_is_walked_to_the_endpoint_that_the_maps_have(lab, pods):
    spec = {"selector": {"app": "far"}, "ports": [{"port": 80, "targetPort": ECHO_PORT}]}
    made = await lab.kube.create(
        SERVICES, {"metadata": {"name": "shop"}, "spec": spec}, namespace="default"
    )
    await wait_endpoints(lab.kube, "shop", lambda held: len(held) == 1)
    address = ip_address(made["spec"]["clusterIP"])
    async with monitoring(lab, "--flows", "--pod", "a") as monitor:
        async with await connect_soon(pods["a"], address) as flow:
            await flow.echo(b"?")
            hops = await why(lab, "a", "svc/shop", "--family", "4")
        opened = await monitor.happened(What.OPEN, "default/a")

    far = pods["far"].address(Family.V4)
    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    assert hops[0]["text"].startswith(f"{address}:80 has 1 endpoint; the pod has 1 connection")
    assert any(one["text"].startswith("the maps allow it") for one in hops)
    assert opened.frontend == Place(address=address, port=80)
    assert opened.destination == Place(address=far, port=ECHO_PORT)


async def test_a_bundle_answers_for_the_data_path_as_the_node_does(lab, pods, tmp_path):
    bundle = str(tmp_path / "bundle.tar.gz")
    await run(lab, "support-bundle", "--output", bundle)

    hops = await why(lab, "a", "svc/kubernetes:443", "--family", "4", "--bundle", bundle)
    shown = (await run(lab, "show", "--bundle", bundle)).output
    drops = await run(lab, "drops", "--bundle", bundle, "--json")

    assert "has 1 endpoint" in hops[0]["text"]
    assert "data path  eBPF with services and policies" in shown
    assert drops.code == 0


async def test_a_service_without_endpoints_is_the_hop_that_fails(lab, pods):
    spec = {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}
    await lab.kube.create(
        SERVICES, {"metadata": {"name": "empty"}, "spec": spec}, namespace="default"
    )

    hops = await why(lab, "a", "svc/empty", "--family", "4")

    assert hops[-1]["what"] == "service default/empty"
    assert hops[-1]["state"] == "FAIL"


async def test_the_node_is_reached_by_its_stack(lab, pods):
    hops = await why(lab, "a", "node-1", "--family", "4")

    assert [one["text"] for one in hops if one["state"] == "FAIL"] == []
    assert any("left to the node's stack" in one["text"] for one in hops)


@pytest.mark.parametrize("node", ["node-1", "eni-1"])
async def test_doctor_finds_nothing_wrong_with_a_data_path_that_is_well(lab, pods, node):
    found = (await run(lab, "doctor", "--json", node=node)).value["findings"]

    assert [(one["what"], one["why"]) for one in found if one["severity"] != "note"] == []


async def test_a_program_that_somebody_took_away_is_named(lab, pods):
    held = pods["near"]
    link = await _host_link(lab, held)
    remove = f"tc filter delete dev {link} egress pref 150"
    async with nobody_mends(lab):
        await lab.node("node-1").exec("sh", "-c", remove)
        hops = await why(lab, "a", "near:8080", "--family", "4")
        found = (await run(lab, "doctor", "--json")).value["findings"]

    assert hops[-1]["text"] == "pod default/near lacks program to_pod"
    whats = [one["what"] for one in found]
    assert any("lacks program to_pod" in what for what in whats)


async def _host_link(lab: Lab, pod: PodHandle) -> str:
    state = (await run(lab, "show", "--json")).value
    key = next(
        one["key"]
        for one in state["journal"]["attachments"]
        if one["pod"] and one["pod"]["name"] == pod.name
    )
    views = state["kernel"]["pods"]
    return next(str(one["host_link"]) for one in views if one["key"] == key)
