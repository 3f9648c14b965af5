"""Services of a case as objects of the API, where nodes themselves lead their pods to endpoints.

A node whose data path is in eBPF translates at the pod's own hook, by what the API says; rules of
nftables behind it would see nothing of that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from terway.agent.service.objects import ENDPOINT_SLICES, SERVICES
from terway.kube.client import KubeClient
from terway.lab.policy.prober import Attempt
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import IPAddress
from terway.model.errors import TransientError
from terway.policy.cluster import Protocol

NAMESPACE, _PREFIX = "default", "case-"
_SERVICES = SERVICES.typed(dict[str, Any])
_SLICES = ENDPOINT_SLICES.typed(dict[str, Any])
_PAGE = "http://terwayd/debug/services"
_LOOK_EVERY_S = 0.05

Door = tuple[Protocol, int]  # of a service
Doors = Mapping[Door, tuple[IPAddress, int]]  # and to whom it leads


class ServicesInApi:
    """The services of one state."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._there: dict[str, Doors] = {}  # by the service's name
        self._sockets: Mapping[str, Path] = {}

    def see(self, sockets: Mapping[str, Path]) -> None:
        """Take note of the nodes that must know them, by terwayd's sockets."""
        self._sockets = sockets

    async def translate(self, wanted: Sequence[Attempt]) -> None:
        """Have these addresses translated, and no others; return when every node does."""
        doors: dict[IPAddress, dict[Door, tuple[IPAddress, int]]] = defaultdict(dict)
        for one in wanted:
            address, port = one.dialled
            doors[address][one.protocol, port] = (one.destination, one.port)
        services = {_name(address): found for address, found in doors.items()}
        if services == self._there:
            return
        for name, found in self._there.items():
            await self._kube.delete(_SERVICES, name, namespace=NAMESPACE)
            for port_name in map(_port_name, found):
                slice_name = f"{name}-{port_name}"
                await self._kube.delete(_SLICES, slice_name, namespace=NAMESPACE)
        for address, found in doors.items():
            await self._kube.create(_SERVICES, _service(address, found))
            for door in found:
                await self._kube.create(_SLICES, _slice(address, door, found[door]))
        self._there = dict(services)
        await asyncio.gather(*(self._is_led(node, path) for node, path in self._sockets.items()))

    async def _is_led(self, node: str, path: Path) -> None:
        """Return when a node leads to the endpoints that there are. Raises TransientError."""
        wanted = {
            f"{NAMESPACE}/{name}": sorted(str(one) for one, _ in found.values())
            for name, found in self._there.items()
        }
        connector = aiohttp.UnixConnector(path=str(path))
        try:
            async with (
                asyncio.timeout(PATIENCE_S),
                aiohttp.ClientSession(connector=connector) as http,
            ):
                while await _led(http) != wanted:  # noqa: ASYNC110 - terwayd is another process
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError as error:
            text = f"{node} does not lead to {', '.join(wanted) or 'no service'} yet"
            raise TransientError(text) from error


async def _led(http: aiohttp.ClientSession) -> dict[str, list[str]]:
    """Return the endpoints' addresses of the services of cases, by the service."""
    async with http.get(_PAGE) as answer:
        page: dict[str, Any] = await answer.json() if answer.status == 200 else {}
    return {
        one["service"]: sorted(_host(end["address"]) for end in one["endpoints"])
        for one in page.get("services", ())
        if one["service"].startswith(f"{NAMESPACE}/{_PREFIX}")
    }


def _host(end: str) -> str:
    return end.partition("/")[0].rpartition(":")[0].strip("[]")


def _name(address: IPAddress) -> str:
    return f"{_PREFIX}{address.packed.hex()}"


def _port_name(door: Door) -> str:
    return f"{door[0].value.lower()}-{door[1]}"


def _service(address: IPAddress, doors: Doors) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _name(address), "namespace": NAMESPACE},
        "spec": {
            "clusterIP": str(address),
            "clusterIPs": [str(address)],
            "ipFamilies": [f"IPv{address.version}"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [
                {"name": _port_name(door), "protocol": door[0].value, "port": door[1]}
                for door in doors
            ],
        },
    }


def _slice(address: IPAddress, door: Door, target: tuple[IPAddress, int]) -> dict[str, Any]:
    endpoint, port = target
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{_name(address)}-{_port_name(door)}",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": _name(address)},
        },
        "addressType": f"IPv{address.version}",
        "ports": [{"name": _port_name(door), "protocol": door[0].value, "port": port}],
        "endpoints": [{"addresses": [str(endpoint)], "conditions": {"ready": True}}],
    }
