"""Many nodes draw on the same vSwitches, and nobody asks for what another has chosen.

Bug classes 8 and 9: no storm of refused calls where a vSwitch runs out; who can be served is.
The pools are the real machines, the cloud counts addresses; answers come in any order.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.controlplane.pools.stock import Stock
from terway.ipam.commands import (
    AssignAddresses,
    AttachENI,
    Bind,
    CloudCommand,
    CreateENI,
    Observe,
    ObserveVSwitches,
    Refuse,
    WaitLink,
)
from terway.ipam.events import (
    Assigned,
    AttachRequested,
    Created,
    Event,
    Expected,
    Failed,
    LinkReady,
    Observed,
    Tick,
    VSwitchesObserved,
)
from terway.ipam.failure import Failure, FailureKind
from terway.ipam.fit import ORDINARY
from terway.ipam.pool import Pool
from terway.ipam.settings import Half, PoolConfig, VSwitchPolicy
from terway.ipam.step import step
from terway.model.address import Family
from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.ids import ENIId, InstanceId, MacAddress, VpcId, VSwitchId, ZoneId

PLENTY = 1e9
TTL_S = 60.0  # within that a reading is shared: see readings.py


class CountingCloud:
    """vSwitches with so many addresses left, and what was refused."""

    def __init__(self, sizes: list[int]) -> None:
        self.left = {VSwitchId(f"vsw-{index}"): size for index, size in enumerate(sizes)}
        self.refused: Counter[VSwitchId] = Counter()
        self._numbers = count(1)
        self.stock = Stock()
        self._read: dict[VSwitchId, tuple[float, VSwitch]] = {}
        self._homes: dict[ENIId, VSwitchId] = {}

    def answer(self, command: CloudCommand, now: float) -> Event:
        match command:
            case CreateENI(intent=intent):
                found = self._take(intent.vswitch_id, intent.ipv4_count)
                if found is None:
                    return self._refuse(command, intent.vswitch_id)
                return Created(token=intent.token, eni=_eni(intent.vswitch_id, found))
            case AssignAddresses(intent=intent):
                found = self._take(self._homes[intent.eni_id], intent.count)
                if found is None:
                    return self._refuse(command, self._homes[intent.eni_id])
                return Assigned(token=intent.token, addresses=tuple(found))
            case AttachENI(eni_id=eni_id):
                return AttachRequested(eni_id=eni_id)
            case WaitLink(eni_id=eni_id):
                return LinkReady(eni_id=eni_id)
            case ObserveVSwitches(ids=ids):
                return VSwitchesObserved(vswitches=tuple(self._describe(one, now) for one in ids))
            case Observe():
                return Observed(asked_at=now, attached=(), detached=())
            case _:
                raise AssertionError(command)

    def source(self, command: CreateENI | AssignAddresses) -> VSwitchId:
        """Return the vSwitch that a call takes from."""
        if isinstance(command, CreateENI):
            return command.intent.vswitch_id
        return self._homes[command.intent.eni_id]

    def _take(self, vswitch_id: VSwitchId, wanted: int) -> list[IPv4Address] | None:
        if self.left[vswitch_id] < wanted:
            return None
        self.left[vswitch_id] -= wanted
        found = [IPv4Address(0x0A000000 + next(self._numbers)) for _ in range(wanted)]
        self._homes[ENIId(f"eni-{found[0]}")] = vswitch_id
        return found

    def _refuse(self, command: CloudCommand, vswitch_id: VSwitchId) -> Failed:
        self.refused[vswitch_id] += 1
        full = Failure(kind=FailureKind.VSWITCH_FULL, reason="InvalidVSwitchId.IpNotEnough")
        return Failed(command=command, failure=full)

    def _describe(self, vswitch_id: VSwitchId, now: float) -> VSwitch:
        at, known = self._read.get(vswitch_id, (-PLENTY, None))
        if known is None or now - at >= TTL_S:
            known = VSwitch(
                id=vswitch_id,
                vpc_id=VpcId("vpc"),
                zone_id=ZoneId("z"),
                cidr=IPv4Network("10.0.0.0/8"),
                available_ip_count=self.left[vswitch_id],
            )
            self._read[vswitch_id] = now, known
            self.stock.read(known, asked_at=now)
        return known


def _eni(vswitch_id: VSwitchId, addresses: list[IPv4Address]) -> ENI:
    return ENI(
        id=ENIId(f"eni-{addresses[0]}"),
        mac=MacAddress("00:16:3e:00:00:01"),
        type=ENIType.SECONDARY,
        status=ENIStatus.AVAILABLE,
        vpc_id=VpcId("vpc"),
        vswitch_id=vswitch_id,
        zone_id=ZoneId("z"),
        primary_ipv4=addresses[0],
        ipv4=tuple(addresses),
    )


class Cluster:
    """Nodes with pools that share one stock, each with calls under way."""

    def __init__(self, cloud: CountingCloud, demands: list[int], policy: VSwitchPolicy) -> None:
        self.cloud = cloud
        self.now = 0.0
        self.demands = demands
        self.pools = [_pool(f"i-{n}", tuple(cloud.left), policy) for n in range(len(demands))]
        self.calls: list[tuple[int, CloudCommand]] = []

    def hear(self, node: int, event: Event) -> None:
        stock, key = self.cloud.stock, f"i-{node}"
        before, event = stock.show(key, self.pools[node], event)
        after, commands = step(before, event, now=self.now)
        stock.settle(key, before, event, after, now=self.now)
        self.pools[node] = after
        self.calls += ((node, one) for one in commands if not isinstance(one, Bind | Refuse))

    def answer(self, number: int) -> None:
        node, command = self.calls.pop(number % len(self.calls))
        self.hear(node, self.cloud.answer(command, self.now))

    def look(self, number: int) -> None:
        self.hear(number % len(self.pools), Tick())

    def begin(self) -> None:
        """Have pods come, and let all nodes learn what there is."""
        for node, demand in enumerate(self.demands):
            self.hear(node, Expected(wishes={ORDINARY: demand}))
        while not any(isinstance(one, CreateENI) for _, one in self.calls):
            if not self.calls:
                return
            self.answer(0)
            for node in range(len(self.pools)):
                self.look(node)

    def settle(self) -> None:
        """Let everything be answered, and time pass until nobody is to look again."""
        for _ in range(12):
            while self.calls:
                self.answer(0)
            self.now += 40.0
            for node in range(len(self.pools)):
                self.hear(node, Tick())

    def asked_of(self, vswitch_id: VSwitchId) -> int:
        """Return how many calls are under way that would take something of a vSwitch."""
        return sum(
            self.cloud.source(one) == vswitch_id
            for _, one in self.calls
            if isinstance(one, CreateENI | AssignAddresses)
        )

    def served(self) -> Counter[int]:
        return Counter({node: len(pool.slots) for node, pool in enumerate(self.pools)})


def _pool(instance: str, vswitch_ids: tuple[VSwitchId, ...], policy: VSwitchPolicy) -> Pool:
    config = PoolConfig(
        half=Half.SUPPLY,
        instance_id=InstanceId(instance),
        zone_id=ZoneId("z"),
        families=(Family.V4,),
        vswitch_ids=vswitch_ids,
        security_group_ids=(),
        eni_slots=6,
        max_enis=6,
        ipv4_per_eni=6,
        create_batch=6,
        token_seed=instance,
        vswitch_policy=policy,
        coalesce_s=0.0,
        vswitch_doubt_s=75.0,
        observe_every_s=PLENTY,
        orphans_every_s=PLENTY,
        calls_per_s=PLENTY,
        call_burst=PLENTY,
    )
    return Pool.empty(config, now=0.0)


clusters = st.builds(
    lambda sizes, demands, policy: Cluster(CountingCloud(sizes), demands, policy),
    st.lists(st.integers(0, 25), min_size=1, max_size=4),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.sampled_from(VSwitchPolicy),
)
doings = st.lists(
    st.tuples(st.sampled_from(["answer", "answer", "answer", "look", "time"]), st.integers(0, 99)),
    max_size=60,
)


def run(cluster: Cluster, history: list[tuple[str, int]]) -> None:
    cluster.begin()
    for what, number in history:
        if what == "answer" and cluster.calls:
            cluster.answer(number)
        elif what == "look":
            cluster.look(number)
        elif what == "time":
            cluster.now += float(number)
    cluster.settle()


@settings(max_examples=60, deadline=None)
@given(clusters, doings)
def test_nobody_asks_for_what_a_vswitch_does_not_have(cluster, history):
    run(cluster, history)

    assert not cluster.cloud.refused


@settings(max_examples=60, deadline=None)
@given(clusters, doings)
def test_whoever_can_be_served_is(cluster, history):
    there = sum(cluster.cloud.left.values())

    run(cluster, history)

    served = cluster.served()
    assert sum(min(served[n], demand) for n, demand in enumerate(cluster.demands)) == min(
        sum(cluster.demands), there
    )


@settings(max_examples=30, deadline=None)
@given(clusters, doings, st.integers(1, 10))
def test_what_strangers_take_is_learnt_from_one_refusal(cluster, history, taken):
    """The first who is refused tells all others: no more are than had asked by then."""
    cloud = cluster.cloud
    cluster.begin()
    cloud.left = {key: max(0, left - taken) for key, left in cloud.left.items()}
    asked_then: dict[VSwitchId, int] = {}

    for what, number in [*history, *(("answer", 0),) * 200]:
        if what == "look":
            cluster.look(number)
        elif what == "answer" and cluster.calls:
            cluster.answer(number)
        for empty in cloud.refused.keys() - asked_then.keys():
            asked_then[empty] = 1 + cluster.asked_of(empty)

    assert all(count <= asked_then[empty] for empty, count in cloud.refused.items())


def test_a_node_that_is_gone_gives_its_choice_back():
    cluster = Cluster(CountingCloud([6]), [6, 6], VSwitchPolicy.ORDERED)
    cluster.begin()
    (chooser,) = {node for node, one in cluster.calls if isinstance(one, CreateENI)}
    cluster.calls = [(node, one) for node, one in cluster.calls if node != chooser]
    cluster.cloud.stock.forget(f"i-{chooser}")
    cluster.pools[chooser] = _pool(f"i-{chooser}", (), VSwitchPolicy.ORDERED)

    cluster.settle()

    assert cluster.served()[1 - chooser] == 6
