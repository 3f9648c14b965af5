"""How long do ADD and DEL take when a container runtime asks for many at once?

A wave makes network namespaces beforehand, runs ADD in each, then DEL in each, through the real
exec protocol: environment, configuration on stdin, result on stdout, as libcni does it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.place import Place

from bench.native import program

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One plugin to be measured: where it runs, and the configuration it gets on stdin."""

    label: str
    place: Place
    plugin: str
    conf: dict[str, Any]  # one plugin's, with `cniVersion` and `name`
    cni_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One verb for all pods of a wave."""

    each_ms: tuple[float, ...]
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """What one wave measured."""

    add: Timing
    delete: Timing

    @property
    def pods_per_s(self) -> float:
        """Return how many pods got their network in a second."""
        return len(self.add.each_ms) / self.add.wall_s


async def run_wave(side: Side, folder: Path, *, pods: int, width: int) -> Wave:
    """Give `pods` network namespaces a network and take it away, `width` at a time."""
    names = [f"bench{next(_numbers)}" for _ in range(pods)]
    await side.place.run("ip", "-batch", "-", stdin="".join(f"netns add {n}\n" for n in names))
    try:
        add = await _verb("ADD", side, folder, names, width)
        delete = await _verb("DEL", side, folder, names, width)
    finally:
        gone = "".join(f"netns del {n}\n" for n in names)
        await side.place.run("ip", "-force", "-batch", "-", stdin=gone)
    return Wave(add=add, delete=delete)


async def _verb(verb: str, side: Side, folder: Path, names: list[str], width: int) -> Timing:
    jobs = "".join(_job(verb, side, folder, name) for name in names)
    argv = ("env", f"CNI_PATH={side.cni_path}", program("cnidrive"), verb, str(width), side.plugin)
    wall, *lines = (await side.place.run(*argv, stdin=jobs)).splitlines()
    for name, line in zip(names, lines, strict=True):
        if not line.startswith("0 "):
            answer = (folder / f"{name}.{verb}.out").read_text()
            raise RuntimeError(f"{side.label}: {verb} failed with {line.split()[0]}: {answer}")
    each_ms = tuple(int(line.split()[1]) / 1e6 for line in lines)
    return Timing(each_ms=each_ms, wall_s=int(wall.split()[1]) / 1e9)


def _job(verb: str, side: Side, folder: Path, name: str) -> str:
    """Return a line for cnidrive, and write the file that the plugin gets on stdin."""
    conf = dict(side.conf)
    if verb == "DEL":
        conf["prevResult"] = json.loads((folder / f"{name}.ADD.out").read_text())
    stdin = folder / f"{name}.{verb}.in"
    stdin.write_text(json.dumps(conf))
    stdout = folder / f"{name}.{verb}.out"
    return f"{name}\t/run/netns/{name}\t{stdin}\t{stdout}\t\n"
