"""How is the cloud read for thousands of nodes? Together, wherever one answer serves many.

enis_of    few nodes ask: each by its instance; many: pages of 500, the whole VPC, once for all
attached   all ENIs that are awaited, up to 100 in a call, every 1.5 s
vswitches  each at most once a minute, whoever asks
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from terway.controlplane.budget import Turns
from terway.controlplane.pools.ports import FleetPort, VSwitchRead
from terway.ipam.settings import CREATOR_TAG, INSTANCE_TAG
from terway.model.eni import ENI, ENIStatus, VSwitch
from terway.model.errors import ThrottledError, TransientError, VpcError
from terway.model.ids import ENIId, InstanceId, VpcId, VSwitchId

DESCRIBE = "DescribeNetworkInterfaces"
PAGE = 500  # ENIs in one answer
POLLED = 100  # ENIs named in one question
_GATHER_S = 0.3
_POLL_S = 1.5
_PATIENCE_S = 60.0  # for an attach
_VSWITCH_TTL_S = 60.0
_ALL = "all nodes"  # who reads for everybody


@dataclass(frozen=True, slots=True)
class Fleet:
    """All ENIs of the VPC at one moment: by instance, and by the instance they were made for."""

    asked_at: float
    attached: Mapping[InstanceId, tuple[ENI, ...]] = field(default_factory=dict)
    made_for: Mapping[InstanceId, tuple[ENI, ...]] = field(default_factory=dict)  # nobody has them
    loose: tuple[ENI, ...] = ()  # all that nobody has

    def of(self, instance_id: InstanceId) -> tuple[tuple[ENI, ...], tuple[ENI, ...]]:
        """Return what an instance has, and what was made for it."""
        return self.attached.get(instance_id, ()), self.made_for.get(instance_id, ())


def sort_fleet(enis: Iterable[ENI], *, asked_at: float) -> Fleet:
    """Return the ENIs by whose they are."""
    attached: defaultdict[InstanceId, list[ENI]] = defaultdict(list)
    made_for: defaultdict[InstanceId, list[ENI]] = defaultdict(list)
    loose: list[ENI] = []
    for eni in enis:
        if eni.instance_id:
            attached[eni.instance_id].append(eni)
        elif eni.status is ENIStatus.AVAILABLE:
            loose.append(eni)
            if CREATOR_TAG in eni.tags:
                made_for[InstanceId(dict(eni.tags).get(INSTANCE_TAG, ""))].append(eni)
    return Fleet(
        asked_at=asked_at,
        attached={key: tuple(found) for key, found in attached.items()},
        made_for={key: tuple(found) for key, found in made_for.items() if key},
        loose=tuple(loose),
    )


@dataclass(slots=True)
class _Awaited:
    """Somebody waits for an ENI to be in use."""

    done: asyncio.Future[None]
    until: float


class SharedReadings:
    """Readings for everybody. Run `run()` beside; what is asked before waits for it."""

    def __init__(
        self,
        cloud: FleetPort,
        budget: Turns,
        *,
        clock: Callable[[], float],
        vpc_id: VpcId | None = None,
    ) -> None:
        self._cloud = cloud
        self._budget = budget
        self._clock = clock
        self._vpc_id = vpc_id
        self._asking: dict[InstanceId, list[asyncio.Future[Fleet]]] = {}
        self._asked = asyncio.Event()
        self._awaited: dict[ENIId, _Awaited] = {}
        self._awaiting = asyncio.Event()
        self._vswitches: dict[VSwitchId, tuple[float, VSwitch | None]] = {}
        self._turns: defaultdict[VSwitchId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pages = 1  # of the last whole reading
        self.on_vswitch: VSwitchRead = _nobody

    async def run(self) -> None:
        """Read for those who ask, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve(tasks), name="fleet")
            tasks.create_task(self._poll(), name="attached")

    async def enis_of(self, instance_id: str) -> tuple[tuple[ENI, ...], tuple[ENI, ...]]:
        """Return what an instance has, and what was made for it and nobody has."""
        mine = InstanceId(instance_id)
        answer: asyncio.Future[Fleet] = asyncio.get_running_loop().create_future()
        self._asking.setdefault(mine, []).append(answer)
        self._asked.set()
        return (await answer).of(mine)

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._asked.wait()
            await asyncio.sleep(_GATHER_S)
            self._asked.clear()
            asking, self._asking = self._asking, {}
            if len(asking) * 2 > self._pages:
                await self._answer(asking)
                continue
            for instance_id, waiting in asking.items():
                tasks.create_task(self._answer_one(instance_id, waiting))

    async def _answer(self, asking: Mapping[InstanceId, list[asyncio.Future[Fleet]]]) -> None:
        everyone = [one for waiting in asking.values() for one in waiting]
        try:
            fleet = await self.read_all()
        except VpcError as error:
            _fail(everyone, error)
        else:
            _answer(everyone, fleet)

    async def _answer_one(
        self, instance_id: InstanceId, waiting: list[asyncio.Future[Fleet]]
    ) -> None:
        asked_at = self._clock()
        marks = (CREATOR_TAG, (INSTANCE_TAG, instance_id))
        available = ENIStatus.AVAILABLE
        try:
            await self._take(instance_id)
            attached = await self._cloud.describe_enis(instance_id=instance_id)
            await self._take(instance_id)
            made = await self._cloud.describe_enis(status=available, tags=marks)
        except VpcError as error:
            self._learn(error)
            _fail(waiting, error)
        else:
            _answer(waiting, sort_fleet((*attached, *made), asked_at=asked_at))

    async def read_all(self) -> Fleet:
        """Return all ENIs of the VPC, a call for each 500."""
        asked_at = self._clock()
        found: list[ENI] = []
        token, pages = "", 0
        while True:
            await self._take(_ALL)
            try:
                page, token = await self._cloud.page_of_enis(vpc_id=self._vpc_id, token=token)
            except VpcError as error:
                self._learn(error)
                raise
            found += page
            pages += 1
            if not token:
                break
        self._pages = pages
        return sort_fleet(found, asked_at=asked_at)

    async def _take(self, who: str) -> None:
        await self._budget.take(DESCRIBE, who=who)

    def _learn(self, error: VpcError) -> None:
        if isinstance(error, ThrottledError):
            self._budget.throttled(DESCRIBE, error.retry_after_s)

    async def attached(self, eni_id: ENIId, *, who: str) -> None:
        """Return when an ENI is in use; TransientError when it is not after a minute."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[eni_id] = _Awaited(done, self._clock() + _PATIENCE_S)
        self._awaiting.set()
        await done

    async def _poll(self) -> None:
        while True:
            await self._awaiting.wait()
            await asyncio.sleep(_POLL_S)
            ids = list(self._awaited)
            for start in range(0, len(ids), POLLED):
                await self._look_at(ids[start : start + POLLED])
            if not self._awaited:
                self._awaiting.clear()

    async def _look_at(self, ids: list[ENIId]) -> None:
        await self._take(_ALL)
        try:
            found = await self._cloud.describe_enis(eni_ids=ids)
        except VpcError as error:
            self._learn(error)
            found = ()
        there = {eni.id for eni in found if eni.status is ENIStatus.IN_USE}
        for eni_id in ids:
            self._tell(eni_id, is_there=eni_id in there)

    def _tell(self, eni_id: ENIId, *, is_there: bool) -> None:
        one = self._awaited[eni_id]
        if not is_there and self._clock() < one.until:
            return
        del self._awaited[eni_id]
        if one.done.done():
            return
        if is_there:
            one.done.set_result(None)
        else:
            text = f"{eni_id} is not InUse {_PATIENCE_S:g} s after it was to be attached"
            one.done.set_exception(TransientError(text))

    async def vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        """Return the vSwitches of `ids` that exist."""
        found = [await self._vswitch(one) for one in ids]
        return tuple(one for one in found if one is not None)

    async def _vswitch(self, vswitch_id: VSwitchId) -> VSwitch | None:
        async with self._turns[vswitch_id]:
            read_at, known = self._vswitches.get(vswitch_id, (float("-inf"), None))
            if self._clock() - read_at < _VSWITCH_TTL_S:
                return known
            await self._budget.take("DescribeVSwitches", who=_ALL)
            asked_at = self._clock()
            found = await self._cloud.describe_vswitches((vswitch_id,))
            one = found[0] if found else None
            if one is not None:
                self.on_vswitch(one, asked_at=asked_at)
            self._vswitches[vswitch_id] = (self._clock(), one)
            return one


def _nobody(vswitch: VSwitch, *, asked_at: float) -> None:
    """Hear of a vSwitch, where nobody wants to."""


def _answer(waiting: Iterable[asyncio.Future[Fleet]], fleet: Fleet) -> None:
    for one in waiting:
        if not one.done():
            one.set_result(fleet)


def _fail(waiting: Iterable[asyncio.Future[Fleet]], error: VpcError) -> None:
    for one in waiting:
        if not one.done():
            one.set_exception(error)
