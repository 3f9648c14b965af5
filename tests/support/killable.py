"""A terwayd that kills itself at a given step, started from a process that has all it needs loaded.

    test ──stdin: one JSON line a life──────────────► nursery ──fork──► terwayd
         ◄──stdout: "serving PID", "counting", "dead -9"

A step is where a task of the event loop is resumed, or suspends itself at an `await`. The product
knows nothing of this: the steps are counted by a task factory. `kill -9` at every step in turn is
`kill -9` at every await point of whatever runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import struct
import sys
from collections.abc import Coroutine, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from terway.agent.interfaces import InterfacePolicy
from terway.agent.log import configure_log
from terway.agent.node_facts import read_node_facts
from terway.agent.paths import paths_under
from terway.agent.terwayd import Setup, Terwayd
from terway.cloud.ecs import EcsClient
from terway.cloud.errors import translate
from terway.cloud.openapi import Product
from terway.cloud.query import Value, flatten
from terway.ipam.settings import PoolConfig
from terway.lab.cloud.cloud import Reply
from terway.lab.node.syscalls import die_with_parent
from terway.linux.kernel import open_kernel
from terway.model.errors import TransientError
from terway.model.ids import RegionId
from terway.store.sqlite import open_store

Answer = TypeVar("Answer")
CONFLIST = b"{}"


class Steps:
    """Counts steps once armed, and kills the process at the given one.

    SIGUSR2 arms: the step is read from the file `order`, and "counting" is said on stdout.
    """

    def __init__(self, order: Path) -> None:
        self._order = order
        self._left = 0
        signal.signal(signal.SIGUSR2, self._arm)

    def _arm(self, *_: object) -> None:
        self._left = int(self._order.read_text())
        print("counting", flush=True)

    def take(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def factory(
        self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(_Stepped(work, self), loop=loop, **options)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose every step is counted, before it and after it."""

    def __init__(self, work: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._work = work
        self._steps = steps

    def send(self, value: Any) -> Any:
        self._steps.take()
        try:
            return self._work.send(value)
        finally:
            self._steps.take()

    def throw(self, *error: Any) -> Any:
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()


class RemoteCaller:
    """Calls the cloud that lives in the test's process: a pickle there, a pickle back."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
            body = pickle.dumps((product.version, action, flatten(parameters)))
            writer.write(struct.pack("!I", len(body)) + body)
            reply: Reply = pickle.loads(await reader.read())
            writer.close()
        except (OSError, EOFError) as error:
            raise TransientError(f"{action}: {error}") from error
        if reply.code:
            raise translate(
                action=action,
                status=reply.status,
                code=reply.code,
                message=str(reply.body["Message"]),
                request_id=str(reply.body["RequestId"]),
            )
        return msgspec.convert(reply.body, type=answer)


async def live(folder: Path, config: PoolConfig, steps: Steps) -> None:
    """Be a terwayd until killed; say when it serves and has compared journal and kernel."""
    paths = paths_under(folder)
    paths.make_folders()
    cloud = EcsClient(
        RemoteCaller(str(folder / "cloud.sock")),
        region_id=RegionId("cn-hangzhou"),
        ecs_endpoint="remote",
        vpc_endpoint="remote",
    )
    setup = Setup(
        pool=config,
        conflist=CONFLIST,
        readonly_listen=f"unix://{paths.run_dir}/eni_debug.socket",
        interfaces=InterfacePolicy(),
    )
    with ExitStack() as stack:
        store = stack.enter_context(open_store(paths.journal))
        async with open_kernel() as kernel:
            terwayd = Terwayd(
                setup,
                paths=paths,
                kernel=kernel,
                store=store,
                cloud=cloud,
                kube=None,
                facts=await read_node_facts(kernel, config.families, mtu_bytes=1500),
                stop=asyncio.Event(),
            )
            asyncio.get_running_loop().set_task_factory(steps.factory)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(terwayd.run())
                await terwayd.ready.wait()
                await terwayd.reconciled.wait()
                print(f"serving {os.getpid()}", flush=True)


def raise_one(folder: Path, order: dict[str, Any]) -> None:
    """Fork a terwayd, and report its end."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        print(f"dead {os.waitstatus_to_exitcode(status)}", flush=True)
        return
    try:
        die_with_parent(signal.SIGKILL)
        config = pickle.loads(bytes.fromhex(order["config"]))
        asyncio.run(live(folder, config, Steps(folder / "order")))
    finally:
        sys.stdout.flush()
        os._exit(3)


def main() -> None:
    """Raise one terwayd for each line on stdin."""
    configure_log("error")
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        raise_one(folder, json.loads(line))


if __name__ == "__main__":
    main()
