"""What traffic does the demo measure, and how? Real packets, between processes in pods and nodes.

For each path and family: who the server saw (the pod's own address, or there is NAT in between),
the median round trip of one byte over TCP, and the throughput of one TCP stream.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from terway.lab import toolbox
from terway.model.address import Family, family_of
from terway.model.errors import TransientError

Json = Mapping[str, Any]
Words = Callable[[str], list[str]]
_PYTHON = ("python3", "-I", "-S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a measurement begins or ends. `target` is as ``terway-lab exec`` takes it."""

    target: str
    node: str
    addresses: tuple[str, ...]
    tool: str

    def address(self, family: Family) -> str | None:
        """Return the address of one family, if it has one."""
        of_family = (one for one in self.addresses if family_of(ip_address(one)) is family)
        return next(of_family, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One path in one family."""

    path: str
    family: Family
    source: str
    destination: str
    seen_as: str  # the source address that the server saw
    rtt_us: float
    bits_per_s: float

    @property
    def kept_its_address(self) -> bool:
        """Whether nobody on the way changed the source address."""
        return self.source == self.seen_as


def choose_paths(status: Json) -> dict[str, tuple[Place, Place]]:
    """Return the paths to measure, by name, among what the lab runs. Pure."""
    web = [pod_place(pod) for pod in ready_pods(status, "web-")]
    first = web[0]
    same = next((one for one in web[1:] if one.node == first.node), None)
    other = next(one for one in web if one.node != first.node)
    nodes = {node["name"]: node_place(node) for node in status["nodes"]}
    paths = {"pod to pod, same node": (first, same)} if same else {}
    return {
        **paths,
        "pod to pod, across nodes": (first, other),
        "pod to its node": (first, nodes[first.node]),
        "pod to another node": (first, nodes[other.node]),
        "node to its pod": (nodes[first.node], first),
        "node to a pod elsewhere": (nodes[other.node], first),
    }


def measure(
    paths: Mapping[str, tuple[Place, Place]], families: Sequence[Family], words: Words
) -> Iterator[Measurement]:
    """Measure each path in each family, one after the other: they share the machine's cores."""
    for path, (source, destination) in paths.items():
        for family in families:
            own, peer = source.address(family), destination.address(family)
            if own is None or peer is None:
                continue
            found = _run([*tool_at(source, words), "measure", peer])
            yield Measurement(
                path=path,
                family=family,
                source=own,
                destination=peer,
                seen_as=found["peer"],
                rtt_us=found["median_us"],
                bits_per_s=found["bits_per_s"],
            )


def tool_at(place: Place, words: Words) -> list[str]:
    """Return the words that run the lab's tool in a place; its arguments are to follow."""
    return [*words(place.target), *_PYTHON, place.tool]


def _run(command: Sequence[str]) -> Json:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode or not done.stdout:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise TransientError(f"{' '.join(command[-2:])}: {_how(done.returncode)}: {said[-1]}")
    answer: Json = json.loads(done.stdout)
    return answer


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"


def ready_pods(status: Json, prefix: str) -> list[Json]:
    """Return the Ready pods whose names begin with `prefix`."""
    return [pod for pod in status["pods"] if pod["name"].startswith(prefix) and pod["ready"]]


def pod_place(pod: Json) -> Place:
    """Return where a pod of a lab's status is."""
    return Place(
        target=f"{pod['namespace']}/{pod['name']}",
        node=pod["node"],
        addresses=tuple(pod["addresses"]),
        tool=toolbox.TOOL,
    )


def node_place(node: Json) -> Place:
    """Return where a node of a lab's status is."""
    return Place(
        target=node["name"],
        node=node["name"],
        addresses=tuple(node["addresses"]),
        tool=str(toolbox.FOLDER / "tool.py"),
    )
