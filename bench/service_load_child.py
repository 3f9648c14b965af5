"""One process that knows many services and prints what that took: `… load` or `… update`."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import terway.agent.main
from bench.service_load import LOAD_S, RSS_MB, UPDATE_MS
from terway.agent.lean import settle
from terway.agent.service.maps import KernelServiceMaps
from terway.agent.service.objects import (
    ENDPOINT_SLICES,
    SERVICES,
    LeanService,
    LeanSlice,
    service_of,
    slice_of,
)
from terway.agent.service.service import AT_ONCE
from terway.bpf_objects import object_path
from terway.linux.bpf import map_of
from terway.linux.libbpf import load_object, read_object
from terway.service.changes import ServiceChange, SetService, SetSlice, pack
from terway.service.compiler import Compiler
from terway.service.contents import Table
from terway.service.values import Here

PAGE = 500
TRIES = 300
_SIZES = {"flows": 4096, "choices": 4096, "pieces": 256, "affinities": 256}
_FIRST_SERVICE, _FIRST_POD = IPv4Address("10.96.0.1"), IPv4Address("10.128.0.1")


def main() -> None:
    """Measure what the command line names, and print the figures as JSON."""
    assert terway.agent.main.__name__  # what terwayd loads is loaded here, too
    sizes = {**_SIZES, **{table.value: 1 << 19 for table in Table}}
    with closing(load_object(read_object(object_path("datapath")), max_entries=sizes)) as loaded:
        maps = KernelServiceMaps({name: map_of(fd) for name, fd in loaded.maps.items()})
        figures = _load(maps) if sys.argv[1] == "load" else _update(maps)
    print(json.dumps(figures))


def _load(maps: KernelServiceMaps) -> dict[str, float]:
    """Pages are made before they are read, one by one, and are not in the time."""
    compiler = Compiler(Here(node="node-1", zone="zone-a"), room=maps.room)
    took_s = 0.0
    for first in range(0, 30_000, AT_ONCE):
        pages = [_page(start) for start in range(first, first + AT_ONCE, PAGE)]
        began = time.process_time()
        maps.apply(compiler.apply(one for page in pages for one in _read(*page)))
        took_s += time.process_time() - began
        del pages
    gc.collect()
    settle()
    return {LOAD_S: took_s, RSS_MB: _rss_mb()}


def _update(maps: KernelServiceMaps) -> dict[str, float]:
    compiler = Compiler(Here(node="node-1", zone="zone-a"), room=maps.room)
    for first in range(0, 10_000, PAGE):
        maps.apply(compiler.apply(_read(*_page(first))))
    settle()
    times = sorted(map(partial(_change_one, maps, compiler), range(TRIES)))
    return {UPDATE_MS: times[TRIES * 99 // 100] * 1000}


def _change_one(maps: KernelServiceMaps, compiler: Compiler, number: int) -> float:
    """Return the seconds from a slice's JSON, with another endpoint, to the maps."""
    event = json.dumps(_slice(number * 31 % 10_000, moved=number + 1)).encode()
    began = time.perf_counter()
    maps.apply(compiler.apply(_changes((), (ENDPOINT_SLICES.decoder.decode(event),))))
    return time.perf_counter() - began


def _read(services: bytes, slices: bytes) -> Iterator[ServiceChange]:
    held = SERVICES.page_decoder.decode(services).items or ()
    return _changes(held, ENDPOINT_SLICES.page_decoder.decode(slices).items or ())


def _changes(
    services: Iterable[LeanService], slices: Iterable[LeanSlice]
) -> Iterator[ServiceChange]:
    for lean in services:
        service = service_of(lean)
        assert service is not None  # made so
        yield SetService(key=service.key, packed=pack(service))
    for part in slices:
        one = slice_of(part)
        assert one is not None
        yield SetSlice(key=one.key, service=one.service, packed=pack(one))


def _page(first: int) -> tuple[bytes, bytes]:
    numbers = range(first, first + PAGE)
    services, slices = ([make(n) for n in numbers] for make in (_service, _slice))
    return json.dumps({"items": services}).encode(), json.dumps({"items": slices}).encode()


def _service(number: int) -> dict[str, object]:
    spec = {
        "type": "ClusterIP",
        "clusterIP": str(_FIRST_SERVICE + number),
        "clusterIPs": [str(_FIRST_SERVICE + number)],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        "selector": {"app": f"app-{number}"},
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
    }
    return {"metadata": _metadata(number, f"service-{number}"), "spec": spec}


def _slice(number: int, *, moved: int = 0) -> dict[str, object]:
    labels = {"kubernetes.io/service-name": f"service-{number}"}
    endpoints = [_endpoint(number, place, moved * (place == 0)) for place in range(4)]
    return {
        "metadata": {**_metadata(number, f"service-{number}-x7k2p"), "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    }


def _endpoint(number: int, place: int, moved: int) -> dict[str, object]:
    return {
        "addresses": [str(_FIRST_POD + 4 * number + place + moved * 200_000)],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"cn-hangzhou.192.168.{place}.{number % 250}",
        "zone": "cn-hangzhou-k",
        "targetRef": {"kind": "Pod", "name": f"app-{number}-{place}", "uid": f"{number:032}"},
    }


def _metadata(number: int, name: str) -> dict[str, object]:
    return {"namespace": f"namespace-{number % 100}", "name": name, "uid": f"{number:036}"}


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
