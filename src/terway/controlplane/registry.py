"""Which controllers are there, by the names that `controllers` of ctrl-config uses?

A factory is called once, on the instance that leads, before any round: it asks `informers` for
what it reads, and its controllers wait until that is there. Several names may be one part's;
a part whose names are one factory's is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from terway.controlplane.balancers.build import make_balancers
from terway.controlplane.context import Context, Factory, Parts
from terway.controlplane.podenis.build import make_pod_controllers
from terway.controlplane.pools.make import make_pools
from terway.controlplane.reads import after, ask_for_watches

# One line a controller: "name": make_it.
FACTORIES: Mapping[str, Factory] = {
    "node": make_pools,
    "multi-ip-node": make_pools,
    "multi-ip-pod": make_pools,
    "pod": make_pod_controllers,
    "pod-eni": make_pod_controllers,
    "eni": make_pod_controllers,
    "pod-networking": make_pod_controllers,
    "service": make_balancers,
}


def make_parts(
    names: Iterable[str], context: Context, *, factories: Mapping[str, Factory] = FACTORIES
) -> Parts:
    """Return the controllers of `names`, what each reads, and what runs beside them."""
    wanted = dict.fromkeys(factories[name] for name in names if name in factories)
    made = [_make(factory, context) for factory in wanted]
    return Parts(
        controllers=tuple(one for parts in made for one in parts.controllers),
        loops=tuple(loop for parts in made for loop in parts.loops),
        reads={name: asked for parts in made for name, asked in parts.reads.items()},
    )


def _make(factory: Factory, context: Context) -> Parts:
    with context.informers.asked() as asked:
        parts = factory(context)
        together = [one for one in parts.controllers if one.name not in parts.reads]
        ask_for_watches(context.informers, together)
    return Parts(
        controllers=parts.controllers,
        loops=(*parts.loops, *(after(asked, loop) for loop in parts.late_loops)),
        reads={one.name: parts.reads.get(one.name, asked) for one in parts.controllers},
    )
