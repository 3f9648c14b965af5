"""Which history does a seed stand for? Pods that come and go, and a few things that go wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from msgspec.structs import replace

from terway.lab.faults import events as of
from terway.lab.faults.events import Event
from terway.lab.faults.schedule import Schedule, Shape

_ACTIONS = (
    "CreateNetworkInterface",
    "AttachNetworkInterface",
    "DetachNetworkInterface",
    "DeleteNetworkInterface",
    "AssignPrivateIpAddresses",
    "AssignIpv6Addresses",
    "UnassignPrivateIpAddresses",
    "UnassignIpv6Addresses",
    "DescribeNetworkInterfaces",
    "DescribeVSwitches",
    "*",
)
# Codes that the cloud answers with when nobody did anything wrong, and their statuses.
_CODES = (
    ("InternalError", 500),
    ("ServiceUnavailable", 503),
    ("Throttling.User", 400),
    ("Operation.Conflict", 409),
    ("IdempotentProcessing", 400),
    ("InvalidOperation.InvalidEniState", 403),
    ("LastTokenProcessing", 400),
)
_SCARCITY = (
    ("InvalidVSwitchId.IpNotEnough", 403),
    ("EniPerInstanceLimitExceeded", 403),
    ("QuotaExceeded.PrivateIpAddress", 403),
)

Draw = Callable[[Random, float, int], Event]


def generate(seed: int) -> Schedule:
    """Return the history of `seed`: always the same."""
    rng = Random(seed)
    shape = _shape(rng)
    length_s = rng.choice((30.0, 60.0, 120.0))
    events = _workload(rng, shape, length_s)
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        draw = rng.choices([one for one, _ in _FAULTS], [weight for _, weight in _FAULTS])[0]
        at = round(rng.uniform(0.0, length_s * 0.9), 3)
        events.append(draw(rng, at, rng.randrange(shape.nodes)))
    events.sort(key=lambda one: one.at)
    return Schedule(seed=seed, length_s=length_s, shape=shape, events=tuple(events))


def _shape(rng: Random) -> Shape:
    shape = Shape(
        nodes=rng.choices((1, 2), (5, 1))[0],
        dual=rng.random() < 0.6,
        max_enis=rng.choice((1, 2, 3)),
        per_eni=rng.choice((2, 4, 6)),
        min_free=rng.choice((0, 0, 2)),
        max_free=rng.choice((2, 3, 5)),
        # A /28 has 12 addresses for ENIs and pods: it runs out.
        pod_range=rng.choices(("192.168.32.0/24", "192.168.32.0/28"), (6, 1))[0],
    )
    kind = rng.choices(("plain", "exclusive", "prefixes"), (6, 1, 1))[0]
    if kind == "exclusive":
        return replace(shape, exclusive=True)
    if kind == "prefixes":  # a /28 has no room for a prefix beside the primary address
        return replace(shape, prefixes=rng.choice((1, 2)), pod_range="192.168.32.0/24")
    return shape


def _workload(rng: Random, shape: Shape, length_s: float) -> list[Event]:
    events: list[Event] = []
    for number in range(rng.choice((1, 2, 4, 6, 9))):
        events += _pod(rng, number, rng.randrange(shape.nodes), length_s, shape)
    for _ in range(rng.choices((0, 1, 2), (6, 1, 1))[0]):
        events.append(_configure(rng, rng.randrange(shape.nodes), length_s))
    for _ in range(rng.choice((0, 0, 1))):
        at = round(rng.uniform(0.0, length_s), 3)
        events.append(of.CollectGarbage(at=at, node=rng.randrange(shape.nodes)))
    return events


def _configure(rng: Random, node: int, length_s: float) -> Event:
    return of.Configure(
        at=round(rng.uniform(0.0, length_s), 3),
        node=node,
        min_free=rng.choice((0, 2)),
        max_free=rng.choice((2, 5)),
        prefixes=rng.choice((1, 2)),
        vswitches=rng.choice((1, 2)),
    )


def _pod(rng: Random, number: int, node: int, length_s: float, shape: Shape) -> list[Event]:
    """Return the life of one pod: most come early, some of them together, and half of them end."""
    born = round(rng.choice((0.0, 1.0, rng.uniform(0.0, length_s * 0.7))), 3)
    name, pod = f"c{number}", f"p{number}"
    first = of.AddPod(
        at=born,
        node=node,
        container=name,
        pod=pod,
        networks=1 if shape.exclusive else rng.choices((1, 2), (9, 1))[0],
        megabits=rng.choices((0, 10), (5, 1))[0],
    )
    events: list[Event] = [first]

    def later() -> float:
        return round(born + rng.choice((0.01, 0.5, 5.0, rng.uniform(0.0, length_s * 0.8))), 3)

    if rng.random() < 0.15:
        events.append(of.AddPod(at=later(), node=node, container=name, pod=pod))
    if rng.random() < 0.1:
        events.append(of.Limit(at=later(), node=node, pod=pod, megabits=rng.choice((0, 20))))
    if rng.random() < 0.1:
        events.append(of.CheckPod(at=later(), node=node, container=name))
    if rng.random() < 0.1:
        events.append(of.AddPod(at=later(), node=node, container=f"{name}x", pod=pod))
    match rng.choices(("stay", "end", "force", "lost"), (4, 5, 1, 1))[0]:
        case "end":
            times = rng.choice((1, 1, 1, 2))
            events.append(of.DeletePod(at=later(), node=node, container=name, times=times))
            if rng.random() < 0.15:
                events.append(of.DeletePod(at=later() + 3, node=node, container=name))
        case "force":
            late_s = rng.choice((0.0, 2.0, 20.0))
            events.append(of.ForceDelete(at=later(), node=node, container=name, late_s=late_s))
        case "lost":
            events.append(of.ForceDelete(at=later(), node=node, container=name))
        case _:
            pass
    return events


def _refuse(rng: Random, at: float, node: int) -> Event:
    code, status = rng.choice(_CODES)
    return of.RefuseCalls(
        at=at,
        action=rng.choice(_ACTIONS),
        code=code,
        status=status,
        count=rng.choice((1, 2, 5)),
        skip=rng.choice((0, 0, 1)),
    )


def _scarce(rng: Random, at: float, node: int) -> Event:
    code, status = rng.choice(_SCARCITY)
    action = rng.choice(("CreateNetworkInterface", "AssignPrivateIpAddresses"))
    return of.RefuseCalls(at=at, action=action, code=code, status=status, count=rng.choice((1, 3)))


def _burn(rng: Random, at: float, node: int) -> Event:
    action = rng.choice(("CreateNetworkInterface", "AssignPrivateIpAddresses"))
    return of.RefuseCalls(
        at=at, action=action, code="IdempotentFailed", status=400, burns_token=True
    )


def _lose(rng: Random, at: float, node: int) -> Event:
    return of.LoseReplies(
        at=at, action=rng.choice(_ACTIONS), count=rng.choice((1, 1, 2)), skip=rng.choice((0, 0, 1))
    )


def _slow(rng: Random, at: float, node: int) -> Event:
    return of.SlowAnswers(
        at=at, action=rng.choice(_ACTIONS), delay_s=rng.choice((2.0, 15.0, 40.0)), count=2
    )


def _throttle(rng: Random, at: float, node: int) -> Event:
    return of.Throttle(at=at, per_minute=rng.choice((1.0, 6.0)), for_s=rng.choice((10.0, 40.0)))


def _stuck(rng: Random, at: float, node: int) -> Event:
    what: Literal["attach", "detach", "delete"] = rng.choice(("attach", "detach", "delete"))
    return of.StuckTransitions(at=at, what=what, delay_s=rng.choice((8.0, 30.0, 90.0)), for_s=20.0)


def _stale(rng: Random, at: float, node: int) -> Event:
    return of.StaleDescribes(
        at=at, lag_s=rng.choice((0.5, 2.0, 4.0)), for_s=rng.choice((10.0, 60.0))
    )


def _late(rng: Random, at: float, node: int) -> Event:
    return of.LateAddresses(at=at, delay_s=rng.choice((0.5, 3.0)), for_s=40.0)


def _kill(rng: Random, at: float, node: int) -> Event:
    when: Literal["before", "during", "after"] = rng.choice(("before", "during", "after"))
    return of.Kill(at=at, node=node, after_calls=rng.choice((0, 1, 2, 5, 11, 23)), when=when)


_FAULTS: tuple[tuple[Draw, int], ...] = (
    (_refuse, 5),
    (_scarce, 2),
    (_burn, 1),
    (_lose, 5),
    (_slow, 2),
    (_throttle, 2),
    (_stuck, 2),
    (_stale, 3),
    (_late, 2),
    (_kill, 8),
    (lambda rng, at, node: of.TakeAddress(at=at, node=node, pick=rng.randrange(20)), 2),
    (
        lambda rng, at, node: of.DetachENI(
            at=at, node=node, pick=rng.randrange(3), deletes=rng.random() < 0.3
        ),
        2,
    ),
    (lambda rng, at, node: of.ApiOutage(at=at, for_s=rng.choice((3.0, 30.0))), 2),
    (lambda rng, at, node: of.ApiErrors(at=at, code=rng.choice((500, 503, 429)), count=4), 1),
    (lambda rng, at, node: of.CutWatches(at=at, expires=rng.random() < 0.5), 2),
    (lambda rng, at, node: of.StallWatches(at=at, for_s=rng.choice((5.0, 30.0))), 1),
    (lambda rng, at, node: of.Partition(at=at, node=node, for_s=rng.choice((5.0, 40.0))), 2),
    (lambda rng, at, node: of.SlowDisk(at=at, node=node, delay_s=rng.choice((0.2, 3.0))), 2),
    (lambda rng, at, node: of.FailDisk(at=at, node=node), 1),
    (
        lambda rng, at, node: of.JumpClock(
            at=at, node=node, by_s=rng.choice((-86400.0, -60.0, 60.0, 86400.0))
        ),
        2,
    ),
    (lambda rng, at, node: of.Reboot(at=at, node=node), 1),
    (
        lambda rng, at, node: of.UnplugLink(
            at=at, node=node, pick=rng.randrange(3), for_s=rng.choice((0.5, 10.0))
        ),
        2,
    ),
    (
        lambda rng, at, node: of.Tamper(
            at=at,
            node=node,
            what=rng.choice(("rule", "route", "address")),
            pick=rng.randrange(30),
        ),
        2,
    ),
)
