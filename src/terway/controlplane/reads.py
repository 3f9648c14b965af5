"""What does a controller read, and who waits for what? Each for its own collections, no others.

What is asked for while a controller is made is what it reads. So a collection that cannot be
listed, for want of a right or of its CRD, holds up those that need it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import wraps
from typing import TypeVar

from terway.controlplane.controller import Controller
from terway.controlplane.informers import Asked, SharedInformers

AnyController = TypeVar("AnyController", bound=Controller)
Loop = Callable[[], Awaitable[None]]


def made_alone(
    informers: SharedInformers, make: Callable[[], AnyController]
) -> tuple[AnyController, Asked]:
    """Return a controller and all that it asks for; what others asked for it must not read."""
    with informers.asked() as asked:
        controller = make()
        ask_for_watches(informers, (controller,))
    return controller, asked


def ask_for_watches(informers: SharedInformers, controllers: Iterable[Controller]) -> None:
    """Ask for what wakes `controllers`."""
    for controller in controllers:
        for watch in controller.watches:
            informers.of(watch.resource)


def after(reads: Asked, loop: Loop) -> Loop:
    """Return `loop`, which begins when all of `reads` is there."""

    @wraps(loop)
    async def waiting() -> None:
        await reads.synced()
        await loop()

    return waiting


def who_waits(reads: Mapping[str, Asked]) -> tuple[str, ...]:
    """Return a line for each controller that waits, with what it waits for."""
    return tuple(
        f"{name} waits for {', '.join(asked.unsynced)}"
        for name, asked in reads.items()
        if asked.unsynced
    )
