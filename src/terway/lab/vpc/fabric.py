"""The fabric: the VPC of the lab as a service of the lab's process.

    async with Fabric(run_dir=path) as fabric:
        await fabric.bind(instance_id, "/run/…/netns")
        await fabric.apply(state)

`apply` is level-triggered: it reads the kernel, plans, acts, and reads again. The same state
twice does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

from terway.lab.vpc.balancers import Balancing, balanced, merged
from terway.lab.vpc.check import check_state
from terway.lab.vpc.converge import Wish, converge
from terway.lab.vpc.counters import PortCounters, add_counters
from terway.lab.vpc.impair import Impairment, impaired
from terway.lab.vpc.kernel import FabricKernel, KernelPaths, open_kernel
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.plan import is_port_link, port_numbers
from terway.lab.vpc.state import VpcState
from terway.linux.monitor import Event, EventsLost, Monitor, Watched, open_monitor
from terway.linux.netns import entered, open_netns
from terway.linux.workers import Workers
from terway.model.errors import BugError, TransientError
from terway.model.ids import ENIId, InstanceId


class Fabric:
    """One fabric. Its methods may be called at the same time; they take turns."""

    def __init__(self, *, run_dir: Path, map_sizes: Mapping[str, int] | None = None) -> None:
        self._paths = KernelPaths(
            vpc=str(run_dir / "netns" / "vpc"), services=str(run_dir / "netns" / "services")
        )
        self._map_sizes = map_sizes
        self._workers = Workers(1)
        self._turn = asyncio.Lock()
        self._stack = ExitStack()
        self._kernel: FabricKernel | None = None
        self._instances: dict[InstanceId, str] = {}
        self._state = VpcState()
        self._faults: dict[ENIId, Impairment] = {}
        self._balancing = Balancing()
        self._balancings: dict[str, Balancing] = {}  # by whoever makes them
        self._numbers = Numbers()

    @property
    def vpc_netns_path(self) -> str:
        """Return the path of the namespace that all fabric ends are in."""
        return self._paths.vpc

    @property
    def services_netns_path(self) -> str:
        """Return the path of the namespace in which the services' sockets listen."""
        return self._paths.services

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Create the namespaces and load the programs: about 0.2 s."""
        async with self._turn:
            opening = open_kernel(self._paths, map_sizes=self._map_sizes)
            entering = partial(self._stack.enter_context, opening)
            self._kernel = await self._workers.run(entering)

    async def close(self) -> None:
        """Delete the namespaces, and with them every ENI's link, in the instances too."""
        async with self._turn:
            self._kernel = None
            await self._workers.run(self._stack.close)
            self._workers.close()

    async def bind(self, instance_id: InstanceId, netns_path: str) -> None:
        """Make the namespace at `netns_path` the instance: its ENIs are plugged in there."""
        async with self._turn:
            self._instances[instance_id] = netns_path
            await self._converge()

    async def unbind(self, instance_id: InstanceId) -> None:
        """Unplug what the instance has; its ports wait until it is bound again."""
        async with self._turn:
            self._instances.pop(instance_id, None)
            await self._converge()

    async def apply(self, state: VpcState) -> None:
        """Make the kernel carry `state`; when this returns, it does.

        Ports of instances that are not bound wait for `bind`. Raises UsageError, and changes
        nothing, when the state is impossible; TransientError when a port could not be plugged
        in (all others are).
        """
        check_state(balanced(state, self._balancing))
        numbers = self._numbers.after(state)
        async with self._turn:
            self._state, self._numbers = state, numbers
            await self._converge()

    async def balance(self, balancing: Balancing, *, maker: str = "cluster") -> None:
        """Have the load balancers of `maker` beside whatever states come, and no others of its.

        Errors as of `apply`.
        """
        async with self._turn:
            makers = {**self._balancings, maker: balancing}
            check_state(balanced(self._state, merged(makers.values())))
            self._balancings, self._balancing = makers, merged(makers.values())
            await self._converge()

    async def impair(self, faults: Mapping[ENIId, Impairment | None]) -> None:
        """Let ENIs' wires be bad from now on, whatever states come; None makes one good again."""
        async with self._turn:
            changed = {**self._faults, **faults}
            self._faults = {key: one for key, one in changed.items() if one is not None}
            await self._converge()

    async def watch(self) -> None:
        """Plug in again what has gone with the namespace of a pod, until cancelled.

        The device of an ENI falls back into the instance's namespace when a pod's ends that it
        was in (default_device_exit_net); a veth ends with the namespace.
        """
        with ExitStack() as stack:
            opening = partial(_open_monitor, stack, self._paths.vpc)
            monitor = await self._workers.run(opening)
            async for event in monitor.events():
                if _is_loss(event):
                    with suppress(TransientError):  # the instance has ended, too
                        async with self._turn:
                            await self._converge()

    async def counters(self) -> Mapping[ENIId, PortCounters]:
        """Return what each port has carried and dropped since it was plugged in."""
        async with self._turn:
            reading = partial(_read_counters, self._opened(), self._state)
            return await self._workers.run(reading)

    async def unattributed(self) -> PortCounters:
        """Return what was dropped on links that are no ports, and at the services' link."""
        async with self._turn:
            return await self._workers.run(partial(_read_unattributed, self._opened()))

    def _opened(self) -> FabricKernel:
        if self._kernel is None:
            raise BugError("the fabric is not open")
        return self._kernel

    async def _converge(self) -> None:
        state = balanced(impaired(self._state, self._faults), self._balancing)
        wish = Wish(state=state, numbers=self._numbers, instances=dict(self._instances))
        await self._workers.run(partial(converge, self._opened(), wish))


def _open_monitor(stack: ExitStack, netns_path: str) -> Monitor:
    with open_netns(netns_path) as netns, entered(netns.fd):
        return stack.enter_context(open_monitor(Watched.LINKS))


def _is_loss(event: Event) -> bool:
    """Return whether an ENI's link may have gone."""
    if isinstance(event, EventsLost):
        return True
    return event.is_gone and event.link is not None and is_port_link(event.link)


def _read_counters(kernel: FabricKernel, state: VpcState) -> Mapping[ENIId, PortCounters]:
    ports = port_numbers(state.ports, kernel.links())
    return {eni_id: add_counters(kernel.counters(number)) for eni_id, number in ports.items()}


def _read_unattributed(kernel: FabricKernel) -> PortCounters:
    return add_counters((*kernel.counters(0), *kernel.counters(kernel.services.ifindex)))
