"""At which interfaces are a pod's rule sets asked, in each place?

A place knows one interface by a pod's name. The other interfaces of a pod with several are as pods
of their own there, under names that no pod can have, with the same rule sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from terway.agent.policy.enforcer import SeatMap
from terway.agent.policy.seats import is_of_another
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled, Sides

Hooks = Mapping[PodKey, str]
_MARK = "/"


def hooks_of_node(seats: SeatMap) -> Hooks:
    """Return the interfaces at the node's end of all pods, each with one pod.

    Sandboxes of one name have one link, which is the later one's: its ADD removes the other's.
    """
    held_by = {
        seat.host_link: pod
        for pod in sorted(seats, key=is_of_another, reverse=True)
        for seat in seats[pod]
    }
    found: dict[PodKey, str] = {}
    for pod, of_pod in seats.items():
        own_first = sorted(of_pod, key=lambda one: not one.is_own)
        links = {
            seat.host_link: seat.ifname for seat in own_first if held_by[seat.host_link] == pod
        }
        found.update(_named(pod, links))
    return found


def hooks_in(netns: str, seats: SeatMap) -> Hooks:
    """Return the interfaces inside one pod's namespace."""
    found: dict[PodKey, str] = {}
    for pod, of_pod in seats.items():
        inside = (seat for seat in of_pod if seat.netns == netns)
        found.update(_named(pod, {seat.ifname: seat.ifname for seat in inside}))
    return found


def namespaces_of(seats: SeatMap) -> Mapping[str, PodKey]:
    """Return the namespaces in which pods have an ENI themselves."""
    return {seat.netns: pod for pod, of_pod in seats.items() for seat in of_pod if seat.netns}


def _named(pod: PodKey, links: Mapping[str, str]) -> Mapping[PodKey, str]:
    """Return `links`, the first under the pod's own name; given is the name of each in the pod."""
    names = list(links.items())
    found = {pod: names[0][0]} if names else {}
    for link, ifname in names[1:]:
        found[replace(pod, name=f"{pod.name}{_MARK}{ifname}")] = link
    return found


def pod_of(hook: PodKey) -> PodKey:
    """Return whose hook it is."""
    return replace(hook, name=hook.name.partition(_MARK)[0])


def spread_sides(compiled: Compiled, hooks: Hooks) -> Compiled:
    """Return `compiled` with the sides of pods at all of their interfaces here."""
    sides = {hook: compiled.sides[pod] for hook in hooks if (pod := pod_of(hook)) in compiled.sides}
    return replace(compiled, sides=sides)


def spread_change(
    change: Change, sides: Mapping[PodKey, Sides], before: Hooks, now: Hooks
) -> Change:
    """Return `change` for all interfaces: those that came or went, and those whose pod changed.

    `sides` are all pods', after the change.
    """
    changed: dict[PodKey, Sides | None] = {}
    for hook in before.keys() | now.keys():
        pod = pod_of(hook)
        if pod in change.sides or (hook in before) != (hook in now):
            changed[hook] = sides.get(pod) if hook in now else None
    return replace(change, sides=changed)
