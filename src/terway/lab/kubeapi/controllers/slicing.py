"""Which slices hold a group's endpoints? As few writes as can be, none of them over the limit.

An endpoint stays in its slice. Slices that change anyway are filled up first, then one that has
room for all that is left, then new ones. Source: k8s.io/endpointslice reconciler.go
(reconcileByPortMapping), v1.34.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.lab.kubeapi.controllers.endpoints import endpoint_id
from terway.lab.kubeapi.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicing:
    """What to do with the slices of one group: endpoints of new ones, changed ones, ends."""

    created: tuple[list[Object], ...] = ()
    changed: tuple[tuple[Object, list[Object]], ...] = ()
    deleted: tuple[Object, ...] = ()


def plan_slices(
    wanted: Mapping[str, Object], held: Iterable[Object], *, limit: int, keeps_one: bool
) -> Slicing:
    """Return how `held` slices become slices of exactly the `wanted` endpoints.

    `keeps_one`: where nothing is wanted, one empty slice says so.
    """
    left = dict(wanted)
    slices = [(one, _kept(one, left)) for one in held]
    changed = [(one, kept) for one, kept in slices if kept != (one.get("endpoints") or [])]
    same = [(one, kept) for one, kept in slices if kept == (one.get("endpoints") or [])]
    rest = [left[name] for name in sorted(left)]
    for _, kept in changed:
        _fill(kept, rest, limit)
    if rest and (roomy := _fullest(same, len(rest), limit)) is not None:
        same.remove(roomy)
        changed.append(roomy)
        _fill(roomy[1], rest, limit)
    created = tuple(rest[start : start + limit] for start in range(0, len(rest), limit))
    return _without_empties(created, changed, same, keeps_one=keeps_one)


def _kept(held: Object, left: dict[str, Object]) -> list[Object]:
    names = [endpoint_id(one) for one in held.get("endpoints") or ()]
    return [left.pop(name) for name in names if name in left]


def _fill(kept: list[Object], rest: list[Object], limit: int) -> None:
    room = max(limit - len(kept), 0)
    kept.extend(rest[:room])
    del rest[:room]


def _fullest(
    slices: list[tuple[Object, list[Object]]], count: int, limit: int
) -> tuple[Object, list[Object]] | None:
    fitting = [one for one in slices if len(one[1]) + count <= limit]
    return max(fitting, key=lambda one: len(one[1]), default=None)


def _without_empties(
    created: tuple[list[Object], ...],
    changed: list[tuple[Object, list[Object]]],
    same: list[tuple[Object, list[Object]]],
    *,
    keeps_one: bool,
) -> Slicing:
    """Empty slices go, but the one that says that there is nothing."""
    empties = [one for one, kept in (*same, *changed) if not kept]
    full = any(kept for _, kept in (*same, *changed)) or bool(created)
    spared = next(iter(empties), None) if keeps_one and not full else None
    if keeps_one and not full and spared is None:
        created = ([],)
    return Slicing(
        created=created,
        changed=tuple((one, kept) for one, kept in changed if kept or one is spared),
        deleted=tuple(one for one in empties if one is not spared),
    )
