"""Who is behind a Service now, and whose ENIs are that?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terway.controlplane.balancers.behind import Behind
from terway.controlplane.balancers.endpoints import endpoints_of, pods_behind
from terway.controlplane.balancers.owners import Owners
from terway.controlplane.watched import WatchedPod
from terway.kube.resource import ObjectKey
from terway.loadbalancer.values import Endpoint
from terway.model.address import IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The endpoints of a Service, and the pods by address. `is_known`: so are all their ENIs."""

    endpoints: tuple[Endpoint, ...]
    pods: Mapping[IPAddress, WatchedPod | None]
    is_known: bool


async def read_served(key: ObjectKey, behind: Behind, owners: Owners) -> Served:
    """Return who is behind a Service. Raises as the cloud's client does."""
    slices = behind.slices(key)
    pods = behind.pods(slices)
    by_address = pods_behind(slices, pods)
    enis = await owners.find(key, by_address)
    return Served(
        endpoints=endpoints_of(key.name, slices, pods, enis),
        pods=by_address,
        is_known=len(enis) == len(by_address),
    )
