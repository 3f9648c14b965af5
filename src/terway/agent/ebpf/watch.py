"""What happens in the data path, for who watches: `terway-cli monitor`.

    watchers ─► wish ─► map `watching` ─► programs ─► ring ─► records with names ─► watchers

Nobody watches: the map is zero, nothing is mapped or read, and a program looks once into an array
for each connection. What is told is bounded by the programs, second by second; what they
leave out is counted, and watchers hear how much that was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import structlog

from terway.agent.ebpf.names import Attachments, Names, owner_of
from terway.agent.ebpf.watchers import Watchers, Wish
from terway.datapath.happening import Happened, LeftOut, Place, What, protocol_word
from terway.linux.ebpf.told import Asked, Event, ToldMaps, read_left_out, unpack_events, watch
from terway.linux.ring import Ring, open_ring
from terway.model.address import IPAddress, IPPair
from terway.model.errors import VpcError

LOOK_S = 1.0  # while somebody watches: what was left out, and whose the endpoints are
TAKE_S = 0.05  # what is in the ring; being woken for each message would cost the programs more
_BATCH = 256  # messages between two looks at everything else that terwayd does

_log = structlog.get_logger("monitor")

OpenTold = Callable[[], AbstractContextManager[ToldMaps | None]]


class Watch:
    """The data path of a node, watched while there are `watchers`."""

    def __init__(self, node: str, open_told: OpenTold, attachments: Attachments) -> None:
        self.watchers = Watchers()
        self._node = node
        self._open_told = open_told
        self._attachments = attachments

    def pods(self) -> set[str]:
        """Return the pods that are here."""
        return {owner_of(one) for one in self._attachments()}

    async def run(self) -> None:
        """Watch as wished until cancelled."""
        self._hush()
        while True:
            self.watchers.changed.clear()
            if self.watchers:
                await self._watch()
            else:
                await self.watchers.changed.wait()

    def _hush(self) -> None:
        """End what an earlier terwayd, which was killed, had the programs tell."""
        try:
            with self._open_told() as maps:
                if maps is not None:
                    watch(maps.watching, None)
        except VpcError as error:
            _log.warning("monitor.not_hushed", error=str(error))

    async def _watch(self) -> None:
        """Watch until nobody does any more; where that cannot be, say why and look again."""
        try:
            with self._open_told() as maps:
                if maps is not None:
                    await _Relay(self._node, maps, self._attachments, self.watchers).run()
                    return
            trouble = "no data path in eBPF is loaded on this node"
        except VpcError as error:
            trouble = str(error)
        self.watchers.trouble = trouble
        self.watchers.begin(_remark(self._node, text=trouble))
        await _changed_within(self.watchers, LOOK_S)


class _Relay:
    """Hands on what programs tell, from maps that are open."""

    def __init__(
        self, node: str, maps: ToldMaps, attachments: Attachments, watchers: Watchers
    ) -> None:
        self._node = node
        self._maps = maps
        self._attachments = attachments
        self._names = Names(())
        self._watchers = watchers
        self._left_out = read_left_out(maps.untold)

    async def run(self) -> None:
        """Hand on until nobody watches."""
        with open_ring(self._maps.events) as ring:
            ring.take()  # what was told before anybody listened
            try:
                while (wish := self._watchers.wish()) is not None:
                    self._watchers.changed.clear()
                    self._names = Names(self._attachments())
                    watch(self._maps.watching, self._asked(wish))
                    self._watchers.in_force, self._watchers.trouble = wish, ""
                    self._watchers.begin(_remark(self._node, text=_begun(wish)))
                    await self._hand_on(ring)
                    self._say_what_was_left_out()
            finally:
                self._watchers.in_force = None
                watch(self._maps.watching, None)

    async def _hand_on(self, ring: Ring) -> None:
        """Hand on what comes until watchers change, or it is time to look around."""
        for _ in range(round(LOOK_S / TAKE_S)):
            await _changed_within(self._watchers, TAKE_S)
            await self._tell(ring.take())
            if self._watchers.changed.is_set():
                return

    async def _tell(self, messages: Sequence[bytes]) -> None:
        # Clocks are read once: what they are apart is the same for all messages of a batch.
        behind_ns = time.time_ns() - time.monotonic_ns()
        for start in range(0, len(messages), _BATCH):
            batch = unpack_events(messages[start : start + _BATCH])
            self._watchers.tell(self._record(event, behind_ns) for event in batch)
            await asyncio.sleep(0)

    def _asked(self, wish: Wish) -> Asked:
        """Return what programs are to tell; of one pod alone where that is one endpoint."""
        ends = list(self._names.endpoints_of(wish.wanted.pod)) if wish.wanted.pod else []
        endpoint, addresses = ends[0] if len(ends) == 1 else (0, IPPair())
        return Asked(
            losses=wish.wanted.losses,
            flows=wish.wanted.flows,
            one_in=wish.one_in,
            endpoint=endpoint,
            addresses=addresses,
            per_second=wish.per_second,
        )

    def _say_what_was_left_out(self) -> None:
        now = read_left_out(self._maps.untold)
        if now > self._left_out:
            self._watchers.tell([_remark(self._node, count=now - self._left_out)])
        self._left_out = now

    def _record(self, event: Event, behind_ns: int) -> Happened:
        held, flow = self._names.at(event.endpoint), event.flow
        is_loss = bool(event.reason)
        return Happened(
            time=_time_text(event.at_ns + behind_ns),
            node=self._node,
            what=What[event.happening.name],
            pod=owner_of(held) if held is not None else "",
            interface=held.key.ifname if held is not None else "",
            reason=event.reason.word if is_loss else "",
            meaning=event.reason.meaning if is_loss else "",
            protocol=protocol_word(flow.protocol) if flow else "",
            source=self._place(flow.source, flow.source_port) if flow else None,
            destination=self._place(flow.destination, flow.destination_port) if flow else None,
            frontend=self._place(*event.frontend) if event.frontend else None,
            bytes=event.bytes,
        )

    def _place(self, address: IPAddress, port: int) -> Place:
        return Place(address=address, port=port, name=self._names.name_of(address))


def _begun(wish: Wish) -> str:
    kinds = (("all losses", wish.wanted.losses), (_flows(wish.one_in), wish.wanted.flows))
    told = " and ".join(text for text, is_wanted in kinds if is_wanted)
    return f"from here on: {told}, at most {wish.per_second} a second"


def _flows(one_in: int) -> str:
    return "all connections" if one_in == 1 else f"1 in {one_in} connections"


async def _changed_within(watchers: Watchers, seconds: float) -> None:
    """Wait until something changed, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await watchers.changed.wait()
    except TimeoutError:
        pass


def _remark(node: str, *, count: int = 0, text: str = "") -> LeftOut:
    return LeftOut(time=_time_text(time.time_ns()), node=node, count=count, text=text)


def _time_text(at_ns: int) -> str:
    """Return a time in microseconds as RFC 3339 has it."""
    at = datetime.fromtimestamp(at_ns / 1e9, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
