"""From the API to the maps: services heard of, compiled, written, told; on paper."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from terway.agent.service.service import ServiceProxy, Told
from terway.lab.kubeapi.resources import ENDPOINT_SLICE, NAMESPACE, NODE
from terway.lab.kubeapi.state import ClusterState
from terway.model.errors import TransientError
from terway.model.ids import NodeName
from terway.service.changes import MapOperation
from terway.service.contents import Table, unpack_backend, unpack_end
from terway.service.memory import Memory, remember
from terway.service.room import Room
from tests.support.kube_server import open_client
from tests.support.paper_maps import PaperMaps
from tests.support.service_worlds import ROOM
from tests.support.services import create_service


class PaperServiceMaps:
    """Maps on paper; `refusals` is how many of the next writes the kernel refuses."""

    def __init__(self, room: Room = ROOM) -> None:
        self.paper = PaperMaps()
        self.room = room
        self.refusals = 0
        self.operations: list[MapOperation] = []

    def apply(self, operations: Iterable[MapOperation]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise TransientError("map frontends, update batch: ENOMEM")
        done = list(operations)
        self.operations += done
        self.paper.apply(done)

    def remember(self) -> Memory:
        return remember(self.paper.tables)

    def backends(self) -> set[str]:
        """Return the addresses of all backends."""
        values = self.paper.tables[Table.BACKENDS].values()
        return {str(ip_address(unpack_end(unpack_backend(one)[0])[0])) for one in values}


def add_slice(state: ClusterState, service: str, *addresses: str, **more: Any) -> None:
    labels = {"kubernetes.io/service-name": service}
    manifest = {
        "metadata": {"name": f"{service}-1", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one], "nodeName": "n1"} for one in addresses],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        **more,
    }
    state.create(ENDPOINT_SLICE, manifest)


@asynccontextmanager
async def running(
    state: ClusterState, folder: Path, maps: PaperServiceMaps, **more: Any
) -> AsyncIterator[tuple[ServiceProxy, asyncio.Queue[Told]]]:
    """Run a proxy for the block, once it has filled the maps; it puts there what it tells."""
    told: asyncio.Queue[Told] = asyncio.Queue()
    async with open_client(state, folder) as client:
        proxy = ServiceProxy(client, NodeName("n1"), maps, **more)
        proxy.on_turn = told.put_nowait
        task = asyncio.create_task(proxy.run())
        try:
            async with asyncio.timeout(20):
                await proxy.fill()
            yield proxy, told
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(told: asyncio.Queue[Told], is_so: Any) -> None:
    """Wait for the turn after which something is so."""
    async with asyncio.timeout(20):
        while not is_so():
            await told.get()


@pytest.fixture
def state() -> ClusterState:
    found = ClusterState(clock=time.time, rng=Random(1))
    found.create(NAMESPACE, {"metadata": {"name": "default"}})
    found.create(NODE, {"metadata": {"name": "n1"}})
    return found


async def test_what_the_api_has_is_in_the_maps_and_what_it_changes_follows(state, tmp_path):
    create_service(state, "web")
    add_slice(state, "web", "10.0.0.1", "10.0.0.2")
    maps = PaperServiceMaps()

    async with running(state, tmp_path, maps) as (proxy, told):
        assert maps.backends() == {"10.0.0.1", "10.0.0.2"}
        state.patch(
            ENDPOINT_SLICE, "web-1", "default", {"endpoints": [{"addresses": ["10.0.0.3"]}]}
        )
        await until(told, lambda: maps.backends() == {"10.0.0.3"})
        assert proxy.is_healthy
        page = json.loads(proxy.pages()["/debug/services"]().body)

    (web,) = [one for one in page["services"] if one["service"] == "default/web"]
    assert [one["use"] for one in web["endpoints"]] == ["used"]


async def test_a_new_terwayd_writes_nothing_that_is_there_however_few_it_takes_at_once(
    state, tmp_path
):
    """Bug class 40."""
    for number in range(6):
        create_service(state, f"s{number}")
        add_slice(state, f"s{number}", f"10.0.0.{number + 1}")
    maps = PaperServiceMaps()
    async with running(state, tmp_path, maps):
        pass
    maps.operations.clear()

    async with running(state, tmp_path, maps, at_once=2):
        assert maps.operations == []


async def test_what_the_kernel_refuses_is_told_and_written_later(state, tmp_path):
    """Bug class 54: what is not in the maps is told, not swallowed."""
    create_service(state, "web")
    add_slice(state, "web", "10.0.0.1")
    maps = PaperServiceMaps()
    maps.refusals = 1

    async with running(state, tmp_path, maps, retry_s=0.0) as (proxy, _):
        assert maps.backends() == {"10.0.0.1"}
        lines = [line for one in proxy.metrics() for line in one.lines()]

    failed = 'terway_service_turns_total{outcome="failed"}'
    assert [line.split()[-1] for line in lines if line.startswith(failed)] in (["1"], ["1.0"])


async def test_a_full_map_leaves_out_one_service_and_serves_the_others(state, tmp_path):
    """Bug class 54."""
    create_service(state, "large")
    add_slice(state, "large", *(f"10.0.1.{n}" for n in range(1, 10)))
    create_service(state, "small")
    add_slice(state, "small", "10.0.0.1")
    room = Room(frontends=100, sets=100, backends=4, slots=0, source_ranges=10)
    maps = PaperServiceMaps(room)

    async with running(state, tmp_path, maps) as (proxy, _):
        compiler = proxy.compiler
        assert compiler is not None
        assert dict(compiler.unserved) == {"default/large": "backends"}
        assert "10.0.0.1" in maps.backends()


async def test_load_balancers_are_told_how_many_endpoints_are_ready_here(state, tmp_path):
    create_service(
        state, "web", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30999
    )
    add_slice(state, "web", "10.0.0.1", "10.0.0.2")

    async with running(state, tmp_path, PaperServiceMaps()) as (proxy, _):
        assert proxy.health() == {"default/web": (30999, 2)}
