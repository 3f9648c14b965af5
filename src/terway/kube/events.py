"""How does a program tell users what it did to their objects? Events, counted when they repeat.

An event is a courtesy: it never holds up or fails the work it speaks of. `record` only puts it
into a bounded queue; `run` sends. The same event again raises the count of the first (client-go's
EventCorrelator does so; the same five facts make it "the same").
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from terway.kube.client import KubeClient
from terway.kube.clock import format_time
from terway.kube.resource import EVENTS, NODES, PODS
from terway.kube.types import Event, EventSource, ObjectMeta, ObjectReference
from terway.model.errors import ConflictError, VpcError

NORMAL = "Normal"
WARNING = "Warning"

_QUEUE_LIMIT = 1000  # events waiting to be sent; the oldest go first
_MEMORY_LIMIT = 4096  # events remembered for counting, as client-go has it
_MESSAGE_LIMIT = 1024  # the API server refuses longer ones
_REQUEST_ID = re.compile(r" \(RequestId [^)]*\)")  # as `cloud.errors` writes it


def without_request_ids(text: str) -> str:
    """Return what was said of a try, as it is said of each: every try has an id of its own."""
    return _REQUEST_ID.sub("", text)


def pod_reference(namespace: str, name: str, uid: str = "") -> ObjectReference:
    """Return the reference by which an event names a pod."""
    return ObjectReference(kind=PODS.kind, namespace=namespace, name=name, uid=uid)


def node_reference(name: str, uid: str = "") -> ObjectReference:
    """Return the reference by which an event names a node."""
    return ObjectReference(kind=NODES.kind, name=name, uid=uid)


class _Fact(NamedTuple):
    """What makes two events the same, when `message` is without the ids of requests."""

    target: ObjectReference
    type: str
    reason: str
    message: str

    def without_ids(self) -> _Fact:
        """Return it as it is said of each try, though each has a request id of its own."""
        return self._replace(message=without_request_ids(self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    name: str
    namespace: str
    count: int


class EventRecorder:
    """Records events of one program on one node. Run `run()` in a task group.

    `clock` gives seconds since the epoch. `on_error` hears of events that could not be sent.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        component: str,
        host: str,
        clock: Callable[[], float],
        on_error: Callable[[VpcError], None] = lambda error: None,
    ) -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._clock = clock
        self._on_error = on_error
        self._waiting: deque[tuple[_Fact, float]] = deque(maxlen=_QUEUE_LIMIT)
        self._wake = asyncio.Event()
        self._sent: OrderedDict[_Fact, _Sent] = OrderedDict()

    def record(self, target: ObjectReference, type_: str, reason: str, message: str) -> None:
        """Queue an event about `target`; never waits, never fails."""
        fact = _Fact(target, type_, reason, message[:_MESSAGE_LIMIT])
        self._waiting.append((fact, self._clock()))
        self._wake.set()

    async def run(self) -> None:
        """Send what is recorded, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send all that is waiting, and return."""
        while self._waiting:
            fact, now = self._waiting.popleft()
            try:
                await self._send(fact, now)
            except VpcError as error:
                self._on_error(error)

    async def _send(self, fact: _Fact, now: float) -> None:
        key = fact.without_ids()
        sent = self._sent.get(key)
        again = await self._count_up(sent, fact.message, now) if sent is not None else None
        self._sent[key] = again or await self._create(fact, now)
        self._sent.move_to_end(key)
        if len(self._sent) > _MEMORY_LIMIT:
            self._sent.popitem(last=False)

    async def _count_up(self, sent: _Sent, message: str, now: float) -> _Sent | None:
        count = sent.count + 1
        patch = {"count": count, "lastTimestamp": format_time(now), "message": message}
        try:
            await self._client.patch(EVENTS, sent.name, patch, namespace=sent.namespace)
        except ConflictError:
            return None  # events expire after an hour; begin a new one
        return _Sent(name=sent.name, namespace=sent.namespace, count=count)

    async def _create(self, fact: _Fact, now: float) -> _Sent:
        # Events about cluster-scoped objects live in "default", as client-go puts them.
        namespace = fact.target.namespace or "default"
        name = f"{fact.target.name}.{int(now * 1e9):x}{len(self._sent) & 0xFFF:03x}"
        event = Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involved_object=fact.target,
            type=fact.type,
            count=1,
            reason=fact.reason,
            message=fact.message,
            first_timestamp=format_time(now),
            last_timestamp=format_time(now),
            source=self._source,
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )
        created = await self._client.create(EVENTS, event)
        return _Sent(name=created.metadata.name, namespace=namespace, count=1)
