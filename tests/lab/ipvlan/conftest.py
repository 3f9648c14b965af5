"""One lab for all: a guest takes most of a minute to bring it up.

Two ENIs on node-1 share its pods out, so that `near` is a sibling of `a` and `other` is not. `far`
is on a node with large frames.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator

import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import NodePool
from terway.lab.world.pods import PodHandle
from tests.lab.ipvlan.site import CNI, FAR, HERE, PATIENCE_S, eni_of

JUMBO = NodePool(name="jumbo", nodes=1, instance_type="ecs.g7.2xlarge", jumbo_frames=True)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=1,
        pools=(JUMBO,),
        ready_timeout_s=PATIENCE_S,
        cni=CNI,
        eni_conf={"min_eni": 2, "max_eni": 2, "eni_selection_policy": "least_ips"},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    """Return pods by what they are to the pod `a`: of three on two ENIs, two share one."""
    far, *made = await asyncio.gather(
        lab.pod("far", node=FAR, timeout_s=PATIENCE_S),
        *(lab.pod(f"p{n}", node=HERE, timeout_s=PATIENCE_S) for n in range(3)),
    )
    one, two = next(
        pair for pair in itertools.combinations(made, 2) if len({eni_of(lab, p) for p in pair}) == 1
    )
    [other] = (pod for pod in made if pod not in (one, two))
    return {"a": one, "near": two, "other": other, "far": far}
