"""How is the data path watched: one line of JSON a record, over the socket of the pages.

    GET /debug/monitor?losses=1&flows=1&pod=shop/web&sample=10&most=2000

until the reader leaves. Without `losses` and `flows`: both. `most` a second.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from urllib.parse import parse_qsl

from terway.agent.ebpf.watch import Watch
from terway.agent.ebpf.watchers import Wish
from terway.datapath.happening import Wanted, line_of
from terway.model.errors import UsageError

PATH = "/debug/monitor"
MOST_WATCHERS = 16
_USUAL_PER_SECOND = 2000
_MOST_PER_SECOND = 100_000


class WatchPage:
    """The page."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def stream(self, query: str) -> AsyncGenerator[bytes, None]:
        """Return the lines that a query asks for. Raises UsageError for what cannot be."""
        wish = wish_of(dict(parse_qsl(query)), self._watch.pods())
        if len(self._watch.watchers) >= MOST_WATCHERS:
            text = f"{MOST_WATCHERS} watch the data path already: end one of them"
            raise UsageError(text, field="monitor")
        return self._following(wish)

    async def _following(self, wish: Wish) -> AsyncGenerator[bytes, None]:
        with self._watch.watchers.join(wish) as watcher:
            async for line in watcher.lines():
                yield f"{line_of(line)}\n".encode()


def wish_of(words: Mapping[str, str], pods: Iterable[str]) -> Wish:
    """Return what the words of a query wish; `pods` are those of this node."""
    losses, flows = bool(words.get("losses")), bool(words.get("flows"))
    is_all = not losses and not flows
    return Wish(
        wanted=Wanted(
            losses=losses or is_all,
            flows=flows or is_all,
            pod=_pod(words.get("pod", ""), pods),
        ),
        one_in=_number(words, "sample", 1, 2**31),
        per_second=_number(words, "most", _USUAL_PER_SECOND, _MOST_PER_SECOND),
    )


def _pod(wanted: str, pods: Iterable[str]) -> str:
    """Return the one pod that [NAMESPACE/]NAME means."""
    if not wanted:
        return ""
    found = [one for one in pods if wanted in (one, one.rpartition("/")[2])]
    if len(found) == 1:
        return found[0]
    why = f"is any of {', '.join(sorted(found))}" if found else "is not on this node"
    raise UsageError(f"pod {wanted} {why}; write NAMESPACE/NAME", field="pod")


def _number(words: Mapping[str, str], name: str, usual: int, most: int) -> int:
    value = words.get(name, str(usual))
    if not value.isdigit() or not 1 <= int(value) <= most:
        raise UsageError(f"{name} {value!r}: must be a number from 1 to {most}", field=name)
    return int(value)
