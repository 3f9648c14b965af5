"""How does the node's daemon ask init to start a process, and learn of its end?"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from terway.lab.node.jail import Jail
from terway.lab.node.spawner import MAX_MESSAGE
from terway.model.errors import TransientError, UsageError


class Process:
    """A process that init started for us. `exited` resolves to its exit status.

    A status below zero is the number of the signal that ended it.
    """

    def __init__(self, spawner: SpawnerClient, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawner = spawner

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.exited.done()

    async def wait(self) -> int:
        """Return the exit status once it has ended; cancelling this leaves the process alone."""
        return await asyncio.shield(self.exited)

    async def kill(self, signal_number: int) -> None:
        """Send a signal; nothing happens when the process has already ended."""
        if self.is_running:
            await self._spawner.request({"op": "kill", "pid": self.pid, "signal": signal_number})


class SpawnerClient:
    """The daemon's end of the socket to init."""

    def __init__(self, control: socket.socket) -> None:
        self._socket = control
        self._socket.setblocking(False)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._processes: dict[int, Process] = {}
        self._next_id = 0
        asyncio.get_running_loop().add_reader(control.fileno(), self._receive)

    def close(self) -> None:
        """Close the socket; init then ends the node."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdio: tuple[int, int, int],
        cwd: str = "/",
        jail: Jail | None = None,
        target: int | None = None,
    ) -> Process:
        """Start `argv` in `jail`, or in the namespaces of the process `target`.

        The caller keeps its copies of `stdio`. Raises UsageError with the kernel's words when
        the program cannot be started.
        """
        message = {
            "op": "run",
            "argv": list(argv),
            "env": dict(env),
            "cwd": cwd,
            "jail": asdict(jail) if jail else None,
            "target": target,
        }
        answer = await self.request(message, fds=stdio)
        process: Process = answer["process"]
        return process

    async def make_sandbox(self, *, net: str, uts: str, ipc: str, hostname: str) -> None:
        """Make network, UTS and IPC namespaces, each kept by a file at the given path."""
        await self.request(
            {"op": "sandbox", "net": net, "uts": uts, "ipc": ipc, "hostname": hostname[:64]}
        )

    async def request(self, message: dict[str, Any], *, fds: Sequence[int] = ()) -> dict[str, Any]:
        """Send one request and return init's answer."""
        self._next_id += 1
        number = self._next_id
        data = json.dumps({"id": number, **message}).encode()
        if len(data) > MAX_MESSAGE:
            raise UsageError(
                f"command and environment take {len(data)} bytes, more than {MAX_MESSAGE}"
            )
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        await self._send(data, fds)
        answer: dict[str, Any] = await future
        if "error" in answer:
            raise UsageError(answer["error"])
        return answer

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._socket, [data], list(fds))
            except BlockingIOError:
                await self._writable()
            else:
                return

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._socket.fileno(), writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._socket.fileno())

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(MAX_MESSAGE)
            except BlockingIOError:
                return
            if not data:
                self._lose()
                return
            self._take(json.loads(data))

    def _take(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            process = self._processes.pop(message["exit"], None)
            if process is not None and not process.exited.done():
                process.exited.set_result(message["status"])
            return
        # Made here, not where it is awaited: its exit may be the very next packet.
        if "pid" in message:
            message["process"] = self._processes[message["pid"]] = Process(self, message["pid"])
        future = self._waiting.pop(message["id"], None)
        if future is not None and not future.done():
            future.set_result(message)

    def _lose(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TransientError("the node's init has ended"))


async def capture(
    spawner: SpawnerClient,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    jail: Jail | None = None,
    target: int | None = None,
) -> tuple[int, bytes]:
    """Run a program to its end and return its status and what it wrote to both outputs.

    Cancelling kills the program.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        process = await spawner.run(
            argv, env=env, stdio=(null, write, write), jail=jail, target=target
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
        os.close(null)
    try:
        output = await read_all(read)
        return await process.wait(), output
    except asyncio.CancelledError:
        await process.kill(9)
        raise


async def read_all(fd: int) -> bytes:
    """Read a pipe to its end and close it."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def pin_path(kind: str, name: str) -> str:
    """Return the file that keeps a namespace of a sandbox: /var/run/netns/cni-… for the network.

    The other kinds have folders beside it, as CRI-O's pinns makes them.
    """
    return str(Path("/var/run", f"{kind}ns", name))
