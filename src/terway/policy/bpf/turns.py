"""What is to be put so that numbers change together? Turns, from what is met to what will be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from terway.model.policy_maps import (
    NO_CLASS,
    NO_LANES,
    Content,
    Generation,
    Key,
    Keys,
    Turn,
)
from terway.policy.bpf.ports import SET_MASK

K = TypeVar("K")
V = TypeVar("V")


def turns(
    before: Mapping[K, V], after: Mapping[K, V], keys: Iterable[K], nothing: V, now: Generation
) -> dict[K, Turn[V]]:
    """Return the entries for `keys` that turn from `before` to `after` in generation `now`."""
    found = ((key, before.get(key, nothing), after.get(key, nothing)) for key in keys)
    return {key: Turn(now, was, is_) for key, was, is_ in found if was != is_}


def turns_from(
    actual: Mapping[K, Turn[V]], after: Mapping[K, V], nothing: V, last: Generation
) -> dict[K, Turn[V]]:
    """Return the entries that turn from what is met in generation `last` to `after` in the next.

    Among them are those that would turn to something else then: of a change that failed.
    """
    now = Generation(last + 1)
    found: dict[K, Turn[V]] = {}
    for key in {**actual, **after}:
        turn, wanted = actual.get(key), after.get(key, nothing)
        met = nothing if turn is None else turn.at(last)
        if met != wanted or (turn is not None and turn.since > last):
            found[key] = Turn(now, met, wanted)
    return found


def unmet(content: Content) -> Keys:
    """Return the entries that no packet meets: left by what failed, or not removed yet."""
    return frozenset(_unmet(content))


def _unmet(content: Content) -> Iterator[Key]:
    now, nets = content.generation, content.nets_number()
    yield from (one for one, turn in content.sides.items() if turn.at(now) == NO_LANES)
    yield from (one for one, turn in content.hosts.items() if turn.at(now) == NO_CLASS)
    yield from (one for one in content.nets if one.nets != nets)
    judging = {number for turn in content.sides.values() for number in turn.at(now)}
    met = {pair: word for pair, word in content.verdicts.items() if pair.rule_set in judging}
    yield from content.verdicts.keys() - met.keys()
    named = {word & SET_MASK for word in met.values()}
    yield from (one for one in content.pages if one.ports not in named)
