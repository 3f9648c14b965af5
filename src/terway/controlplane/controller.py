"""What is a controller, and which outcome may one look at one object have?

A controller is level-triggered: `reconcile` reads the world, does one round, and says when to look
again. It is called with a key, never with an event, and never twice at a time for one key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from terway.kube.informer import Change, Informer
from terway.kube.resource import ObjectKey, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One round is over. `again_in_s` seconds from now there is more to do; None: when woken."""

    again_in_s: float | None = None


DONE = Outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Whose changes wake which keys. Urgent keys go before those that wait already."""

    resource: Resource[Any]
    keys_of: Callable[[Change[Any]], Iterable[ObjectKey]]
    is_urgent: Callable[[Change[Any]], bool] = lambda change: False


class Informers(Protocol):
    """One copy of each collection for all controllers; each is filled before the first round."""

    def of(self, resource: Resource[Any]) -> Informer[Any]:
        """Return the copy of the collection; asking makes it part of what is watched."""
        ...


class Controller(Protocol):
    """What `run_controllers` drives.

    VpcErrors of `reconcile` are waited out, longer each time, per key; any other error ends the
    process, because it is a bug.
    """

    name: str  # as in the configuration's list `controllers`
    concurrency: int  # keys at a time, at most
    watches: tuple[Watch, ...]

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Look at one object and do what is next for it."""
        ...


@runtime_checkable
class Companion(Protocol):
    """A controller that has something of its own to do beside its rounds."""

    async def run(self, wake: Callable[[ObjectKey], None]) -> None:
        """Do it until cancelled. `wake` has a key looked at, as a change of its object would."""
        ...


def own_key(change: Change[Any]) -> tuple[ObjectKey, ...]:
    """Return the key of what changed: for controllers of that very kind."""
    return (change.key,)
