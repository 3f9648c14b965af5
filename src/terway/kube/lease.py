"""Who holds a lease? Heartbeats of nodes, and leadership among equals."""

from __future__ import annotations

from terway.kube.client import KubeClient
from terway.kube.clock import format_micro_time, parse_time
from terway.kube.resource import LEASES
from terway.kube.types import Lease, LeaseSpec, ObjectMeta
from terway.model.errors import ConflictError


def is_stale(spec: LeaseSpec, *, now: float) -> bool:
    """Say whether nobody holds the lease any more. `now` is seconds since the epoch."""
    if not spec.holder_identity or not spec.renew_time:
        return True
    return parse_time(spec.renew_time) + (spec.lease_duration_seconds or 0) < now


def next_spec(current: LeaseSpec, *, holder: str, duration_s: int, now: float) -> LeaseSpec | None:
    """Return the lease as `holder` may have it now; None while somebody else holds it."""
    mine = current.holder_identity == holder
    if not mine and not is_stale(current, now=now):
        return None
    taken = 0 if mine or not current.holder_identity else 1
    return LeaseSpec(
        holder_identity=holder,
        lease_duration_seconds=duration_s,
        acquire_time=current.acquire_time if mine else format_micro_time(now),
        renew_time=format_micro_time(now),
        lease_transitions=(current.lease_transitions or 0) + taken,
    )


async def renew_lease(
    client: KubeClient, name: str, *, namespace: str, holder: str, duration_s: int, now: float
) -> bool:
    """Take or renew a lease; False while somebody else holds it, or was faster just now.

    `now` is seconds since the epoch. Safe to repeat: that is what renewing is.
    """
    current = await client.get(LEASES, name, namespace=namespace)
    wanted = current or Lease(metadata=ObjectMeta(name=name, namespace=namespace))
    spec = next_spec(wanted.spec, holder=holder, duration_s=duration_s, now=now)
    if spec is None:
        return False
    try:
        if current is None:
            await client.create(LEASES, Lease(metadata=wanted.metadata, spec=spec))
        else:
            await client.update(LEASES, Lease(metadata=current.metadata, spec=spec))
    except ConflictError:
        return False
    return True
