"""How does terwayd serve who is not a pod of its node: three chores and a source of metrics.

`Entry` is what the room of services tells, whenever its maps have changed: backends that are gone,
and what health check ports answer. In return it gets the hostPorts of pods, as any other change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from terway.agent.ebpf.bringup import Bringup
from terway.agent.ebpf.entry import NodeEntry
from terway.agent.ebpf.entry_health import HealthPort, HealthPorts
from terway.agent.ebpf.entry_ports import AllPods, PodPorts, Sink
from terway.agent.limits import PodChanges
from terway.agent.terwayd import Terwayd
from terway.linux.kernel import Kernel


class Told(Protocol):
    """What is heard when the maps of services have changed."""

    @property
    def gone(self) -> Collection[int]:
        """Return the numbers of the backends that are gone."""
        ...

    @property
    def health(self) -> Mapping[str, tuple[int, int]]:
        """Return, by service, the health check port and how many endpoints are ready here."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Who is told when services change."""

    node: NodeEntry
    health: HealthPorts
    fill: Callable[[], Awaitable[None]]  # says all hostPorts that there are

    def hear(self, told: Told) -> None:
        """Have sockets and load balancers told; never waits."""
        self.node.lost(told.gone)
        self.health.want(
            {
                service: HealthPort(service=service, port=port, local_endpoints=ready)
                for service, (port, ready) in told.health.items()
            }
        )


def start_entry(
    terwayd: Terwayd,
    kernel: Kernel,
    bringup: Bringup,
    *,
    cgroup: Path | None,
    changes: PodChanges,
    pods: AllPods,
    sink: Sink,
    is_healthy: Callable[[], bool],
) -> Entry:
    """Have services reached from outside and from the node itself, where ours serve them.

    To be called before terwayd runs. `sink` takes the hostPorts of pods: of `pods` at first, then
    of `changes`; `is_healthy` says whether the maps are what the API says.
    """
    loaded = bringup.datapath
    node = NodeEntry(kernel, loaded, loaded.object.pins, cgroup=cgroup)
    health = HealthPorts(is_healthy=is_healthy)
    ports = PodPorts(changes=changes, sink=sink)

    async def serve_node() -> None:
        await bringup.up()  # sockets go on with the maps that links have
        await node.begin()
        await node.run()

    terwayd.chores["node sockets"] = serve_node
    terwayd.chores["health check ports"] = health.run
    terwayd.chores["host ports of pods"] = ports.run
    terwayd.metrics.sources.append(node.metrics)
    return Entry(node=node, health=health, fill=partial(ports.fill, pods))
