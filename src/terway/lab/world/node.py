"""How does the lab hold a node? Its process, its control socket, and ways to get inside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from terway.lab.node import cgroup
from terway.lab.node.jail import resolve_inside
from terway.lab.node.spec import NodeSpec
from terway.lab.world.processes import ProcessRecord, record_of
from terway.model.errors import TransientError, UsageError

Message = dict[str, Any]
_END_GRACE_S = 5.0


class NodeHandle:
    """One running node of the lab. Made by `start_node`."""

    def __init__(self, spec: NodeSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.init_pid = 0
        self.agent_pid: int | None = None  # as the node counts; None while terwayd is not running
        self.agent_starts = 0
        self._process = process
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._next_id = 0
        self._changed = asyncio.Condition()
        self._init = asyncio.Event()
        self._ended = False

    @property
    def name(self) -> str:
        """Return the node's name."""
        return self.spec.name

    @property
    def netns_path(self) -> str:
        """Return the path of the node's network namespace."""
        return f"/proc/{self.init_pid}/ns/net"

    @property
    def record(self) -> ProcessRecord | None:
        """Return the launcher's process record."""
        return record_of(self._process.pid)

    def inside(self, path: str) -> Path:
        """Return where a file of the node is found from here."""
        return Path(resolve_inside(f"/proc/{self.init_pid}/root", path))

    def words(self, command: Sequence[str], *, container_pid: int | None = None) -> list[str]:
        """Return the command line that runs `command` on the node, or in one of its containers.

        `container_pid` is as the node counts; a container is entered by way of its node.
        """
        enter = ["nsenter", "--all", f"--target={self.init_pid}", "--"]
        words = [*enter, *cgroup.joining(self.spec, self._process.pid)]
        if container_pid is not None:
            words += ["nsenter", "--all", f"--target={container_pid}", "--"]
        return [*words, *command]

    def last_words(self) -> str:
        """Return the end of the node's log."""
        log = Path(self.spec.log_dir, "node.log")
        return log.read_text(errors="replace")[-2000:] if log.exists() else "without a log"

    async def exec(self, *command: str, check: bool = True) -> str:
        """Run a command on the node and return its output; UsageError when it fails."""
        return await run_command(self.words(command), check=check)

    async def restart_agent(self) -> None:
        """Have terwayd stopped in order, and return when its successor runs."""
        await self._replace_agent("restart-agent")

    async def kill_agent(self) -> None:
        """Kill terwayd as a crash would, and return when its successor runs."""
        await self._replace_agent("kill-agent")

    async def request(self, do: str, **arguments: Any) -> Message:
        """Ask the node's daemon for something. UsageError with its words when it refuses."""
        if self._ended or self._writer is None:
            raise TransientError(f"node {self.name} has ended: {self.last_words()}")
        self._next_id += 1
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[self._next_id] = future
        line = json.dumps({"id": self._next_id, "do": do, **arguments}) + "\n"
        self._writer.write(line.encode())
        answer = await future
        if "error" in answer:
            raise UsageError(answer["error"])
        return answer

    async def wait_init(self) -> None:
        """Wait until the node's namespaces are there."""
        await self._init.wait()
        if self._ended:
            raise TransientError(f"node {self.name} did not start: {self.last_words()}")

    async def follow(self, control: socket.socket, on_end: Callable[[NodeHandle], None]) -> None:
        """Read what the node says until it ends."""
        reader, self._writer = await asyncio.open_unix_connection(sock=control)
        try:
            with suppress(ConnectionError):  # the same as its end
                while line := await reader.readline():
                    await self._take(json.loads(line))
            await self._process.wait()  # its last words are in the log then
        finally:
            self._lose()
            self._writer.close()
        on_end(self)

    async def stop(self) -> None:
        """End the node and all that runs on it; idempotent."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_END_GRACE_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        await self._process.wait()

    async def _replace_agent(self, do: str) -> None:
        before = self.agent_pid
        await self.request(do)
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._ended or self.agent_pid not in (None, before)
            )

    async def _take(self, message: Message) -> None:
        match message.get("event"):
            case "init":
                self.init_pid = message["pid"]
                self._init.set()
            case "agent":
                async with self._changed:
                    self.agent_pid = message["pid"]
                    self.agent_starts += self.agent_pid is not None
                    self._changed.notify_all()
            case _:
                future = self._waiting.pop(message["id"], None)
                if future is not None and not future.done():
                    future.set_result(message)

    def _lose(self) -> None:
        self._ended = True
        self._init.set()
        for future in self._waiting.values():
            if not future.done():
                words = f"node {self.name} has ended: {self.last_words()}"
                future.set_exception(TransientError(words))


async def start_node(spec: NodeSpec, folder: Path) -> tuple[NodeHandle, socket.socket]:
    """Start a node; `follow` the socket, then `wait_init`."""
    _make_folder(spec, folder)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    log = os.open(folder / "node.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    words = [
        sys.executable,
        "-m",
        "terway.lab.node.launch",
        str(folder / "spec.json"),
        str(theirs.fileno()),
        str(os.getpid()),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C ends the lab, and that ends the node
        )
    finally:
        theirs.close()
        os.close(log)
    return NodeHandle(spec, process), ours


def _make_folder(spec: NodeSpec, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(spec.to_json())


async def run_command(words: Sequence[str], *, check: bool = True, stdin: str = "") -> str:
    """Run a command and return its output. UsageError with the output when it fails."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate(stdin.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    text = output.decode(errors="replace")
    if check and process.returncode:
        command = " ".join(words)
        raise UsageError(f"{command}: exit status {process.returncode}: {text.strip()}")
    return text
