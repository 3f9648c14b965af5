"""terwayd's entry point: options, the daemon put together and run until a signal.

Serving within a second of the start is a promise, so nothing here waits for what is not needed
to answer for the pods that are there.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from terway.agent.lean import settle  # first: it decides what the others load

# isort: split
from terway.agent.log import configure_log  # then this: it decides what structlog loads

# isort: split
import structlog

from terway.agent.assembly import assemble
from terway.agent.lock import open_lock
from terway.agent.options import Options, parse_options
from terway.agent.outside import open_outside
from terway.agent.paths import Paths
from terway.agent.refusal import LastError, known_errors, told_at_node
from terway.kube.client import KubeClient
from terway.kube.connection import read_in_cluster, read_kubeconfig
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.uninstall import uninstall
from terway.linux.netlink.socket import open_route_socket
from terway.model.errors import VpcError
from terway.store.readonly import read_journal
from terway.store.records import StoreError

_log = structlog.get_logger("terwayd")


def main(argv: Sequence[str] | None = None) -> None:
    """Run terwayd until SIGTERM or SIGINT; SIGUSR1 writes all stacks to stderr."""
    faulthandler.register(signal.SIGUSR1)
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
        configure_log(options.log_level)
        if options.is_preparing:
            _prepare(options)
            return
        asyncio.run(leave(options) if options.is_uninstalling else run(options))
    except VpcError as error:
        sys.exit(f"terwayd: {error}")
    except BaseExceptionGroup as group:
        known, unknown = group.split(VpcError)
        if known is None or unknown is not None:
            raise
        sys.exit(f"terwayd: {'; '.join(map(str, known_errors(known)))}")


def _prepare(options: Options) -> None:
    from terway.agent.prepare import Host, prepare, run_on_host  # no terwayd that serves needs it

    for line in prepare(options, Host(root=options.root, run=run_on_host)):
        _log.info("terwayd.prepared", what=line)


async def leave(options: Options) -> None:
    """Take out of the node's kernel what no pod needs to go on. Raises where a terwayd runs."""
    options.paths.make_folders()
    async with open_lock(options.paths.lock):
        with open_route_socket() as sock:
            for line in uninstall(sock, Pins(options.paths.pins), _namespaces(options.paths)):
                _log.info("terwayd.removed", what=line)


def _namespaces(paths: Paths) -> tuple[str, ...]:
    """Return those of the pods in the journal; where there is none, terwayd has had none."""
    try:
        held = read_journal(paths.journal).attachments
    except StoreError as error:
        _log.info("terwayd.no_journal", why=str(error))
        return ()
    return tuple(one.netns for one in held)


async def run(options: Options) -> None:
    """Open the outside and run the daemon until a signal.

    Raises UsageError for what a person must mend, TransientError when the instance's own network
    or metadata are not there yet: whoever started terwayd starts it again.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options.paths.make_folders()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_lock(options.paths.lock))
        last = LastError(options.paths.last_error)
        stack.enter_context(last.kept())
        client = await _open_kube_client(stack, options)
        async with told_at_node(client, options.node_name):
            outside = await open_outside(stack, options, client)
            terwayd = await assemble(outside, stop)
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(_settle(terwayd.ready, last))
            await terwayd.run()
            settling.cancel()


async def _settle(ready: asyncio.Event, last: LastError) -> None:
    await ready.wait()
    last.forget()
    settle()


async def _open_kube_client(stack: AsyncExitStack, options: Options) -> KubeClient | None:
    if not options.kubernetes:
        return None
    connection = (
        read_kubeconfig(options.kubeconfig) if options.kubeconfig else read_in_cluster(os.environ)
    )
    return await stack.enter_async_context(KubeClient(connection, user_agent="terwayd"))


if __name__ == "__main__":
    main()
