"""Inside the guest: two labs beside each other, their paths measured in turn: `… FILE ROUNDS`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path as FilePath

from bench import world
from bench.alternate import alternate
from bench.group import say
from bench.net import Path, paths_between_nodes, round_trip_us, stream_gbps

_MODES = ("ipvlan", "veth")
_ROUND_TRIPS = 5_000
_PATIENCE_S = 300.0


def main() -> None:
    """Measure, and write the samples as JSON."""
    file, rounds = FilePath(sys.argv[1]), int(sys.argv[2])
    file.write_text(json.dumps(asyncio.run(_measure(rounds))))


async def _measure(rounds: int) -> Mapping[str, Mapping[str, list[float]]]:
    async with _paths() as paths:
        few = partial(round_trip_us, round_trips=_ROUND_TRIPS)
        streams = {name: one for name, one in paths.items() if name != "veth"}
        return {
            "us": await alternate(
                rounds, {name: partial(few, one) for name, one in paths.items()}, show=say
            ),
            "Gbit/s": await alternate(
                rounds, {name: partial(stream_gbps, one) for name, one in streams.items()}, show=say
            ),
        }


@asynccontextmanager
async def _paths() -> AsyncIterator[dict[str, Path]]:
    """Run a lab of each mode for the block; return what is to be measured."""
    async with AsyncExitStack() as stack:
        found: dict[str, Path] = {}
        for mode in _MODES:
            plan = world.lab(
                nodes=2,
                name=f"bench-{mode}",
                cni={"eniip_virtual_type": mode},
                ready_timeout_s=_PATIENCE_S,
            )
            lab = await stack.enter_async_context(plan)
            paths = await paths_between_nodes(lab, timeout_s=_PATIENCE_S)
            found[mode] = paths.subject
            found.setdefault("nodes", paths.reference)
        yield found


if __name__ == "__main__":
    main()
