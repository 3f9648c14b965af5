"""What is the state of a container, as the kubelet tells the API?

WAITING ──started──► RUNNING ──ended──► TERMINATED ──restart──► WAITING (CrashLoopBackOff)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not running yet, or not any more."""

    reason: str = "ContainerCreating"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Running since `started_at`, seconds since the epoch."""

    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """Ended. `exit_code` is 128 plus the signal where one ended it, as runc has it."""

    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    container_id: str = ""
    message: str = ""


State = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """All the API hears of one container."""

    name: str
    image: str
    state: State = Waiting()
    last: Terminated | None = None
    container_id: str = ""
    restarts: int = 0
    ready: bool = False
    started: bool = False


class BackoffTimes:
    """The constants of CrashLoopBackOff: 10 s, doubled to 300 s, forgotten after 10 min of running.

    Source: kubelet, MaxContainerBackOff and backOffPeriod.
    """

    INITIAL_S = 10.0
    MAXIMUM_S = 300.0
    FORGIVEN_AFTER_S = 600.0


def next_backoff_s(current_s: float, *, ran_s: float) -> float:
    """Return the wait before the restart after the next failure; the first restart has none."""
    if current_s == 0 or ran_s >= BackoffTimes.FORGIVEN_AFTER_S:
        return BackoffTimes.INITIAL_S
    return min(current_s * 2, BackoffTimes.MAXIMUM_S)


def should_restart(policy: str, exit_code: int) -> bool:
    """Whether a container that has ended is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def exit_code_of(status: int) -> int:
    """Return the exit code for a wait status where a signal is negative."""
    return 128 - status if status < 0 else status
