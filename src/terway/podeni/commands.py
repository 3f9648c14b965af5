"""What can be done for a PodENI? A step says which of these, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.ids import ENIId, NodeName, ZoneId
from terway.podeni.record import Phase, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateENIs:
    """Make the ENIs of these interfaces: in `zone_id`, or where there are addresses if None."""

    interfaces: tuple[str, ...]
    zone_id: ZoneId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Have these ENIs attached to `target`."""

    eni_ids: tuple[ENIId, ...]
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """Have these ENIs detached, wherever they are."""

    eni_ids: tuple[ENIId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteENIs:
    """Have these ENIs detached and deleted. Their interfaces stay recorded until they are gone."""

    eni_ids: tuple[ENIId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetENIs:
    """Record that these ENIs are gone: their interfaces have none."""

    eni_ids: tuple[ENIId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Record for which pod it is, and on which node that is; empty and None: for nobody."""

    pod_uid: str
    node_name: NodeName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPhase:
    """Write the status. `is_seen`: the pod was there until just now."""

    phase: Phase
    target: Target | None = None
    is_seen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Delete the PodENI; its finalizer holds it until its ENIs are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Take the finalizer away: nothing is left."""


Command = (
    CreateENIs | Attach | Detach | DeleteENIs | ForgetENIs | Claim | SetPhase | Forget | Release
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do now, in order, and when to look again if nothing happens.

    `problem` is why nothing can be done; somebody should know. `takes`: only if the pod is really
    gone, or is really another. `restores`: only if the pod is really there, and `problem` is what
    was wrong.
    """

    commands: tuple[Command, ...] = ()
    again_in_s: float | None = None
    problem: str = ""
    takes: bool = False
    restores: bool = False


WAIT = Step()


def do(*commands: Command) -> Step:
    """Return the step of these commands."""
    return Step(commands=commands)


def take(*commands: Command) -> Step:
    """Return the step of these commands, which take something away from a pod."""
    return Step(commands=commands, takes=True)
