"""terway-controlplane's entry point: files read, edges opened, then run until a signal.

every instance   informers of the webhook, the webhook, health, metrics
the leader       the controllers, and the informers that they ask for
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence

import uvloop

from terway.controlplane.log import configure_log
from terway.controlplane.options import Options, parse_options
from terway.controlplane.process import run
from terway.model.errors import VpcError


def main(argv: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; SIGUSR1 writes all stacks to stderr."""
    faulthandler.register(signal.SIGUSR1)
    options = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
    configure_log(options.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(options))
    except VpcError as error:
        sys.exit(f"terway-controlplane: {error}")
    except BaseExceptionGroup as group:
        known, unknown = group.split(VpcError)
        if known is None or unknown is not None:
            raise
        sys.exit(f"terway-controlplane: {'; '.join(map(str, _leaves(known)))}")


async def _until_signal(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(options, stop)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    main()
