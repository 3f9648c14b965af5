"""What did an earlier Terway leave? Cleaned where no running pod can need it, otherwise said.

rules and routes of pods, ENI tables, veths of ours     every sweep (datapath/plan.py)
upstream's u32 filters on ENIs                          removed
upstream's socket and lock, with nobody behind them     removed
upstream's journal, with pods in it                     taken over at the first start (`takeover`);
                                                        else said: ours was not empty
cali… veths that are not ours                           said, never touched: Calico's, or a pod's
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import structlog

from terway.agent.ground import Ground
from terway.agent.mender import Teller
from terway.agent.paths import Paths
from terway.datapath.names import HOST_LINK_PREFIX
from terway.linux.old_filters import OldFilter, read_old_filters, remove_old_filters
from terway.model.errors import UsageError, VpcError
from terway.model.network import Link
from terway.store.bbolt import read_bucket

FOUND = "LeftoverFound"
CLEANED = "LeftoverCleaned"
OLD_JOURNAL = "ResRelation.db"
OLD_SOCKET = "eni.socket"
OLD_LOCK = "terway_cni.lock"

_BUCKET = b"relation"
_HOST_LINK = re.compile(rf"{HOST_LINK_PREFIX}[0-9a-f]{{11}}")
_NAMED = 5

_log = structlog.get_logger("leftovers")


class Leftovers:
    """Looks once after each start."""

    def __init__(
        self,
        paths: Paths,
        *,
        ground: Callable[[], Ground],
        links: Callable[[], Awaitable[Iterable[Link]]],
        teller: Teller | None,
    ) -> None:
        self._paths = paths
        self._ground = ground
        self._links = links
        self._teller = teller
        self.is_taken = False  # upstream's journal: its pods are ours, or were told of

    async def clean(self, reconciled: asyncio.Event) -> None:
        """Wait for the first look at the kernel, then clean and tell. Nothing of it is fatal."""
        await reconciled.wait()
        try:
            self._files()
            await asyncio.to_thread(self._filters)
            self._foreign_links(await self._links())
        except (VpcError, OSError) as error:
            _log.warning("leftovers.failed", error=str(error))

    def _filters(self) -> None:
        enis = [number for number, (_, key) in self._ground().links.items() if key is None]
        found = read_old_filters(enis)
        if found:
            remove_old_filters(found)
            self._tell(CLEANED, f"filters of an earlier Terway removed: {_filter_words(found)}")

    def _files(self) -> None:
        old_socket = self._paths.run_dir / OLD_SOCKET
        if old_socket.is_socket() and not _has_listener(old_socket):
            old_socket.unlink()
            (self._paths.run_dir / OLD_LOCK).unlink(missing_ok=True)
            self._tell(CLEANED, f"{old_socket} of an earlier Terway removed: nobody listens")
        pods = old_pods(self._paths.state_dir / OLD_JOURNAL)
        if pods and not self.is_taken:
            self._tell(
                FOUND,
                f"{self._paths.state_dir / OLD_JOURNAL}: an earlier Terway gave addresses to "
                f"{len(pods)} pods ({_some(pods)}). They are not taken over: drain the node, so "
                "that they start anew, then remove the file",
            )

    def _foreign_links(self, links: Iterable[Link]) -> None:
        ours = self._ground().links
        names = [link.name for link in links if is_unknown_pod_link(link, ours)]
        if names:
            self._tell(
                FOUND,
                f"links {_some(names)} look like pods' of Calico or of an earlier Terway; they are "
                "left alone. Pods of an earlier Terway must start anew: drain the node",
            )

    def _tell(self, reason: str, message: str) -> None:
        _log.warning("leftovers.found", reason=reason, text=message)
        if self._teller is not None:
            self._teller.tell_node(reason, message)


def old_pods(path: Path) -> tuple[str, ...]:
    """Return the pods in upstream's journal at `path`; none when it is no such file."""
    if not path.is_file():
        return ()
    try:
        return tuple(sorted(key.decode(errors="replace") for key in read_bucket(path, _BUCKET)))
    except UsageError as error:
        _log.info("leftovers.unreadable", path=str(path), error=str(error))
        return ()


def is_unknown_pod_link(link: Link, ours: Iterable[int]) -> bool:
    """Return whether `link` is named like a pod's, and is none of ours."""
    is_named = link.kind == "veth" and _HOST_LINK.fullmatch(link.name) is not None
    return is_named and not link.alias and link.ifindex not in ours


def _has_listener(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
        return True


def _filter_words(filters: Iterable[OldFilter]) -> str:
    return _some([f"link {one.ifindex} {one.hook.name.lower()} {one.priority}" for one in filters])


def _some(words: Iterable[str]) -> str:
    listed = list(words)
    return ", ".join(_shown(listed))


def _shown(listed: list[str]) -> Iterator[str]:
    yield from listed[:_NAMED]
    if len(listed) > _NAMED:
        yield f"and {len(listed) - _NAMED} more"
