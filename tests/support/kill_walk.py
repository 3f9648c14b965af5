"""The test's half of a kill walk: the cloud that survives, the lives of terwayd, what must hold."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import re
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from terway.cni.protocol import Request, encode_request
from terway.ipam.settings import PoolConfig
from terway.lab.cloud.cloud import Call
from tests.support.cni import conf_of
from tests.support.emulated_node import EmulatedCloud
from tests.support.kernel_node import sh

ANSWER_S = 60.0  # of a guest on a machine that is busy as well


@dataclass
class Life:
    """One terwayd, from its start to its end."""

    pid: int


class Nursery:
    """Starts terwayds, one after the other, all with the same folder: the same journal."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self.folder = folder

    async def start(self, config: PoolConfig) -> Life:
        """Start one; return when it serves and has compared journal and kernel."""
        fresh = replace(config, token_seed=str(time.time_ns()))  # as every start has it
        order = {"config": pickle.dumps(fresh).hex()}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        words = await self._line()
        assert words[0] == "serving", words
        return Life(pid=int(words[1]))

    async def count(self, life: Life, *, kill_at: int) -> None:
        """Have it kill itself at the `kill_at`-th step from now on."""
        (self.folder / "order").write_text(str(kill_at))
        os.kill(life.pid, signal.SIGUSR2)
        assert await self._line() == ["counting"]

    async def spare(self, life: Life) -> bool:
        """Have it count no more, and live on; return whether it was in time."""
        (self.folder / "order").write_text("0")
        with suppress(ProcessLookupError):  # its step came first
            os.kill(life.pid, signal.SIGUSR2)
        words = await self._line()
        if words == ["counting"]:
            return True
        assert words == ["dead", "-9"], words
        return False

    async def died(self, *, within_s: float) -> bool:
        """Return whether it has killed itself, waiting for it a little."""
        try:
            words = await self._line(within_s)
        except TimeoutError:
            return False
        assert words == ["dead", "-9"], words
        return True

    async def end(self, life: Life) -> None:
        """Kill one that still lives."""
        os.kill(life.pid, signal.SIGKILL)
        assert await self.died(within_s=ANSWER_S)

    async def _line(self, within_s: float = ANSWER_S) -> list[str]:
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            return (await self._process.stdout.readline()).decode().split()


@asynccontextmanager
async def open_nursery(world: EmulatedCloud, folder: Path) -> AsyncIterator[Nursery]:
    """Serve the cloud at ``cloud.sock`` and keep a nursery for the block."""
    server = await asyncio.start_unix_server(_answerer(world), folder / "cloud.sock")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.killable",
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Nursery(process, folder)
    finally:
        process.kill()  # and with it whatever terwayd it has
        await process.communicate()
        server.close()
        await server.wait_closed()


def _answerer(world: EmulatedCloud) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            version, action, parameters = pickle.loads(await reader.readexactly(length))
            call = Call(version=version, action=action, parameters=parameters)
            writer.write(pickle.dumps(world.cloud.perform(call)))
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # it was killed while it asked
        finally:
            writer.close()

    return answer


@dataclass(frozen=True)
class Said:
    """What terwayd answered."""

    exit_code: int
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


async def ask(folder: Path, verb: str, container: str, netns: str, **conf: Any) -> Said | None:
    """Ask terwayd as the plugin does, without the plugin's patience; None if it died."""
    env = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
    }
    body = encode_request(Request(env=env, stdin=json.dumps(conf_of(**conf)).encode()))
    try:
        async with asyncio.timeout(ANSWER_S):
            path = folder / "var/run/eni/cni.socket"
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(struct.pack("!I", len(body)) + body)
            reply = await reader.read()
            writer.close()
    except OSError:
        return None
    return Said(exit_code=reply[4], body=reply[5:]) if len(reply) > 4 else None


async def read_state(folder: Path) -> dict[str, Any]:
    """Return what terwayd says of itself at ``/debug/state``."""
    return await read_state_of(folder / "var/run/eni/eni_debug.socket")


async def read_state_of(socket: Path) -> dict[str, Any]:
    """Return what the terwayd behind a debug socket says of itself."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"GET /debug/state HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    state: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return state


async def succeeds(asked: Awaitable[Said | None]) -> Said:
    """Wait for an answer, which must be a success."""
    said = await asked
    assert said is not None, "terwayd died"
    assert said.exit_code == 0, said
    return said


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so, looking again and again: terwayd tells nobody."""
    async with asyncio.timeout(ANSWER_S):
        while not await is_so():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


def addresses_of(attachment: dict[str, Any]) -> set[str]:
    """Return the addresses of an attachment in the state."""
    return {one for one in attachment["lease"]["addresses"].values() if one}


def check_world(world: EmulatedCloud, state: dict[str, Any]) -> None:
    """Hold journal, kernel and cloud against each other: nothing twice, lost, or nobody's."""
    held = [addresses_of(one) for one in state["attachments"]]
    owned = set().union(*held)
    assert sum(map(len, held)) == len(owned), "an address was given twice"

    attached = {
        str(address): port.eni_id
        for port in world.cloud.vpc_state().ports
        for address in (*port.ipv4, *port.ipv6)
    }
    for one in state["attachments"]:
        for address in addresses_of(one):
            assert attached.get(address) == one["lease"]["eni_id"], (
                f"{address} is lost in the cloud"
            )

    said = sh("ip rule; ip -6 rule")
    ruled = set(re.findall(r"(?:from|to) ([0-9a-f:.]+) lookup", said)) - {"all"}
    assert ruled <= owned, f"rules of nobody: {ruled - owned}"


def enis_of(world: EmulatedCloud) -> dict[str, int]:
    """Return the cloud's secondary ENIs, attached or not, and their addresses' number."""
    return {
        eni.id: len(eni.ipv4) + len(eni.ipv6)
        for eni in world.cloud.world.state.enis.values()
        if eni.type.value == "Secondary"
    }
