"""A fabric with instances on it, configured as guests would, for tests with real packets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.fabric import Fabric
from terway.lab.vpc.state import Port, VpcState
from terway.model.address import IPAddress
from tests.support.instances import NODES, PODS, Instance, make_instance, remove_instance

VSWITCHES = {vswitch.id: vswitch for vswitch in (NODES, PODS)}


@dataclass(slots=True, kw_only=True)
class Network:
    """The fabric, and its instances by their id."""

    fabric: Fabric
    directory: Path
    instances: dict[str, Instance] = field(default_factory=dict)

    async def instance(self, name: str) -> Instance:
        """Return the instance of that name, making and binding it the first time."""
        if name not in self.instances:
            self.instances[name] = make_instance(name, self.directory)
            await self.fabric.bind(self.instances[name].id, self.instances[name].netns)
        return self.instances[name]

    async def start(self, state: VpcState) -> list[Instance]:
        """Apply `state`; return the instance of each port, configured."""
        found = [await self.instance(port.instance_id) for port in state.ports]
        await self.fabric.apply(state)
        for port, instance in zip(state.ports, found, strict=True):
            instance.configure(port, VSWITCHES[port.vswitch_id])
        return found

    async def drops(self, port: Port, reason: DropReason) -> int:
        return (await self.fabric.counters())[port.eni_id].drops.get(reason, 0)


@asynccontextmanager
async def open_network(directory: Path) -> AsyncIterator[Network]:
    async with Fabric(run_dir=directory, map_sizes={"flows": 4096}) as fabric:
        network = Network(fabric=fabric, directory=directory)
        try:
            yield network
        finally:
            for instance in network.instances.values():
                remove_instance(instance)


def family(address: IPAddress) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


async def listen(instance: Instance, address: IPAddress, port: int) -> socket.socket:
    listener = instance.socket(family(address), socket.SOCK_STREAM)
    listener.bind((str(address), port))
    listener.listen()
    return listener


async def connect(
    instance: Instance, address: IPAddress, port: int, *, timeout_s: float = 5
) -> socket.socket:
    """Connect in time; raises TimeoutError or ConnectionError."""
    client = instance.socket(family(address), socket.SOCK_STREAM)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(client, (str(address), port))
    except BaseException:
        client.close()
        raise
    return client


async def transfer(sender: socket.socket, receiver: socket.socket, data: bytes) -> bytes:
    """Send `data` from one end of a connection to the other; return what arrives."""
    loop = asyncio.get_running_loop()

    async def receive() -> bytes:
        parts: list[bytes] = []
        while sum(map(len, parts)) < len(data):
            parts.append(await loop.sock_recv(receiver, 1 << 20))
        return b"".join(parts)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        received = tasks.create_task(receive())
        tasks.create_task(loop.sock_sendall(sender, data))
    return received.result()
