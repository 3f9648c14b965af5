"""What others changed is undone: how often, and how is it told? Once, with who did it if known.

plan ──► admit ──► operations ──► kernel ──► mended ──► log line each, one event a kind
           └─ what is fought over waits (datapath/fights.py)
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from terway.agent.blame import UNKNOWN, Blame
from terway.datapath.damage import Damage, damage_of
from terway.datapath.fights import PATIENCE, PAUSE_S, Fights
from terway.linux.foreign import name_of_process
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.exposition import Counter, Gauge, Labels, Metric
from terway.model.network import NODE, Birth, NetObject, Operation, Put
from terway.model.programs import InnerPrograms

MENDED = "NetworkMended"
FOUGHT = "NetworkFoughtOver"
POD_MENDED = "ConfigCheck"  # upstream's reason for what it repaired in a pod
POD_LOST = "NetworkLost"

_LINES = 50  # of one look: a flushed table has a thousand rules
_NAMED = 3  # objects that an event names

# So that a rate can be asked for before anything was mended.
_NONE_YET: dict[Labels, float] = {
    (("kind", kind), ("where", where)): 0.0
    for kind in ("route", "rule", "link", "sysctl")
    for where in ("node", "pod")
}

_log = structlog.get_logger("mender")


def _lets_all_pass(operation: Operation) -> bool:
    """Return whether policies are not in force until it is done, and only its pod prevents it."""
    return isinstance(operation, Put) and isinstance(operation.object, InnerPrograms)


class Teller(Protocol):
    """Who tells people of a node and its pods; `EventRecorder` behind it counts what repeats."""

    def tell_node(self, reason: str, message: str) -> None:
        """Warn about the node."""

    def tell_pod(self, pod: PodRef, reason: str, message: str) -> None:
        """Warn about a pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What may be done, and what each operation of it puts right."""

    operations: tuple[Operation, ...]
    damages: tuple[Damage, ...]


class Mender:
    """Lets operations through, and tells what they undid. `now` is monotonic seconds."""

    def __init__(
        self, *, now: Callable[[], float], blame: Blame, teller: Teller | None = None
    ) -> None:
        self._now = now
        self._blame = blame
        self._teller = teller
        self._fights = Fights()
        self._lost: set[AttachmentKey] = set()
        self.counts: Tally[tuple[str, str]] = Tally()  # by kind, and node or pod
        self.wait_s = float("inf")  # until something that waits may be mended

    @property
    def fights(self) -> int:
        """Return how many objects somebody keeps changing."""
        now = self._now()
        return sum(self._fights.is_fought_over(place, now=now) for place in self._fights.mended)

    def metrics(self) -> Iterator[Metric]:
        """Yield how much was mended, by kind of object and by where it was."""
        labelled: dict[Labels, float] = {
            (("kind", kind), ("where", where)): float(count)
            for (kind, where), count in self.counts.items()
        }
        text = "objects that others changed and terwayd put right"
        yield Counter(name="terway_mended_total", text=text, values={**_NONE_YET, **labelled})
        text = "objects that somebody keeps changing"
        yield Gauge(name="terway_fought_over_count", text=text, values={(): float(self.fights)})
        text = "pods without network whose veth others deleted and terwayd cannot make again"
        yield Gauge(name="terway_lost_links_count", text=text, values={(): float(len(self._lost))})

    def begin(self) -> None:
        """Begin to look at all: nothing is known to wait."""
        self.wait_s = float("inf")

    def admit(self, operations: Sequence[Operation], actual: Iterable[NetObject]) -> Admitted:
        """Return those of `operations` that may be done now; `actual` is what they came from.

        With the making of a veth goes all that belongs on it: that is one deed, done or not.
        """
        if not operations:
            return Admitted(operations=(), damages=())
        now = self._now()
        damages: list[Damage] = []
        held: list[Operation] = []
        for damage in damage_of(operations, actual):
            wait_s = self._fights.wait_s(damage.place, now=now)
            if wait_s > 0 and _lets_all_pass(damage.operation):
                continue  # done; told when others would be
            if wait_s > 0:
                self.wait_s = min(self.wait_s, wait_s)
                held.append(damage.operation)
            else:
                damages.append(damage)
        if any(isinstance(one, Birth) for one in held):
            return Admitted(operations=(), damages=())
        births = [one for one in damages if isinstance(one.operation, Birth)]
        return Admitted(
            operations=tuple(one for one in operations if one not in held),
            damages=tuple(births or damages),
        )

    def mended(
        self,
        admitted: Admitted,
        *,
        pod: PodRef | None = None,
        is_inside: bool = False,
    ) -> None:
        """Tell what was let through and done. `pod` is whose namespace it was in, if known."""
        damages = admitted.damages
        if not damages:
            return
        now = self._now()
        self._tell_of_fights(damages, now)
        self._fights = self._fights.after((one.place for one in damages), now=now)
        where = "pod" if is_inside else "node"
        self.counts.update((one.kind, where) for one in damages)
        for kind, of_kind in _by_kind(damages).items():
            who = self._who(of_kind[0])
            for one in of_kind[:_LINES]:
                _log.warning(
                    "mender.mended",
                    object=one.difference.object,
                    where=one.difference.where,
                    was=one.difference.found,
                    should_be=one.difference.wanted,
                    by=who,
                    pod=str(pod) if pod else "",
                )
            if len(of_kind) > _LINES:
                _log.warning("mender.mended_more", kind=kind, count=len(of_kind) - _LINES, by=who)
            if not is_inside:
                self._tell(None, of_kind, who)
        if is_inside and pod is not None:
            # One deed in a pod takes several kinds away: a link goes with its addresses and routes.
            self._tell(pod, damages, " or ".join(dict.fromkeys(map(self._who, damages))))

    def remade(self, what: str) -> None:
        """Tell that something was made anew because it was not as it had been made."""
        who = self._blame.who("table")
        self.counts.update({("table", "node"): 1})
        _log.warning(
            "mender.mended",
            object=what,
            where="node",
            was="changed",
            should_be="as made",
            by=who,
            pod="",
        )
        if self._teller is not None:
            text = f"{what} was not as terwayd had made it. Changed by {who}, put right by terwayd"
            self._teller.tell_node(MENDED, text)

    def lost(self, attachment: Attachment, *, link: str, why: str) -> None:
        """Tell once that a pod has lost its veth, which cannot be made again."""
        if attachment.key in self._lost:
            return
        self._lost.add(attachment.key)
        text = (
            f"the pod has no network on {attachment.key.ifname}: its link {link} on the node was "
            f"deleted by {self._blame.who('link')}, and is not made again, because {why}. "
            "Delete the pod, so that it is made anew"
        )
        pod = attachment.pod
        _log.error(
            "mender.lost", object=f"link {link}", pod=str(pod) if pod else "", why=why, text=text
        )
        if self._teller is not None and pod is not None:
            self._teller.tell_pod(pod, POD_LOST, text)

    def keep_lost(self, keys: Iterable[AttachmentKey]) -> None:
        """Take note that no others than `keys` lack their veth."""
        self._lost &= frozenset(keys)

    def _tell(self, pod: PodRef | None, damages: Sequence[Damage], who: str) -> None:
        if self._teller is None:
            return
        named = "; ".join(_sentence(one) for one in damages[:_NAMED])
        more = f"; and {len(damages) - _NAMED} more" if len(damages) > _NAMED else ""
        text = f"{named}{more}. Changed by {who}, put right by terwayd"
        if pod is None:
            self._teller.tell_node(MENDED, text)
        else:
            self._teller.tell_pod(pod, POD_MENDED, text)

    def _who(self, damage: Damage) -> str:
        return self._blame.who(damage.kind) if damage.place[0] == NODE else UNKNOWN

    def _tell_of_fights(self, damages: Iterable[Damage], now: float) -> None:
        for one in damages:
            times = self._fights.mended.get(one.place, ())
            if len(times) != PATIENCE - 1:
                continue  # it becomes a fight by being mended this time, not later, not earlier
            who = self._who(one)
            text = (
                f"{one.difference.object} ({one.difference.where}) was mended {PATIENCE} times in "
                f"{now - times[0]:.0f} s and is changed again each time by {who}: from now on it "
                f"is mended every {PAUSE_S:.0f} s only. Have them leave it alone"
            )
            _log.error("mender.fought_over", object=one.difference.object, by=who, text=text)
            if self._teller is not None:
                self._teller.tell_node(FOUGHT, text)


def _by_kind(damages: Iterable[Damage]) -> dict[str, list[Damage]]:
    found: defaultdict[str, list[Damage]] = defaultdict(list)
    for one in damages:
        found[one.kind].append(one)
    return found


def _sentence(one: Damage) -> str:
    change = one.difference
    where = "" if change.where == "node" else f" in {change.where}"
    return f"{change.object}{where} was {change.found}, should be {change.wanted}"


def quiet_mender() -> Mender:
    """Return one that tells the log only."""
    return Mender(now=time.monotonic, blame=Blame(now=time.monotonic, name_of=name_of_process))
