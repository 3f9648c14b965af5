"""Whatever happens in whatever order - lost answers, refusals, crashes, people in the console -
nobody shares an address, nobody loses one, and in the end nothing is left over.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from terway.ipam.failure import Failure, FailureKind
from terway.ipam.fit import ORDINARY, is_ordinary
from terway.ipam.values import AddressPhase, ENIPhase, PrefixPhase
from terway.model.address import Family, IPAddress
from terway.model.attachment import AttachmentKey
from terway.model.eni import ENIStatus
from terway.model.ids import SecurityGroupId
from terway.model.interface import Placement
from tests.support.model_cloud import GROUP, ModelCloud, vswitch
from tests.support.pool_world import World, owner

OWNERS = st.integers(min_value=0, max_value=15)
PICKS = st.integers(min_value=0, max_value=50)
FAILURES = st.sampled_from(
    [
        Failure(kind=FailureKind.THROTTLED, reason="slow down", retry_after_s=1.0),
        Failure(kind=FailureKind.TRANSIENT, reason="internal error"),
        Failure(kind=FailureKind.CONFLICT, reason="wrong state"),
    ]
)


PLACEMENTS = st.sampled_from(
    [
        ORDINARY,
        ORDINARY,
        ORDINARY,
        Placement(vswitch_ids=(vswitch(2).id,)),
        Placement(security_group_ids=(SecurityGroupId("sg-pod"),)),
    ]
)


def _prefix_counts(count):
    if count is None:
        return {"has_prefixes": False, "ipv4_prefixes": 0, "ipv6_prefixes": 0}
    return {"has_prefixes": True, "ipv4_prefixes": count, "ipv6_prefixes": count}


class PoolLife(RuleBasedStateMachine):
    @initialize(
        families=st.sampled_from([(Family.V4,), (Family.V6,), (Family.V4, Family.V6)]),
        free=st.sampled_from([(0, 0), (0, 4), (3, 5)]),
        available=st.sampled_from([1000, 9]),
        prefixes=st.sampled_from([None, 0, 1, 3]),
        warm_up=st.sampled_from([0, 7]),
    )
    def start(self, families, free, available, prefixes, warm_up):
        cloud = ModelCloud((vswitch(1, available=available), vswitch(2)), eni_slots=3, per_eni=5)
        self.world = World(
            cloud,
            families=families,
            min_free=free[0],
            max_free=free[1],
            warm_up=warm_up,
            **_prefix_counts(prefixes),
        )
        self.asked: dict[AttachmentKey, Placement] = {}
        self.world.sleep(0)

    @rule(number=OWNERS, placement=PLACEMENTS)
    def acquire(self, number, placement):
        before = self.world.leases.get(owner(number))
        if before is None and owner(number) not in self.world.pool.waiting:
            self.asked[owner(number)] = placement
        self.world.acquire(number, placement)
        assert before is None or self.world.leases[owner(number)] == before

    @rule(
        free=st.sampled_from([(0, 0), (0, 4), (3, 5)]),
        prefixes=st.sampled_from([None, 0, 1, 3]),
        vswitches=st.sampled_from([(1,), (2,), (1, 2)]),
        groups=st.sampled_from([(GROUP,), (SecurityGroupId("sg-new"),)]),
    )
    def somebody_changes_the_configuration(self, free, prefixes, vswitches, groups):
        self.world.configure(
            min_free=free[0],
            max_free=free[1],
            vswitch_ids=tuple(vswitch(number).id for number in vswitches),
            security_group_ids=groups,
            **_prefix_counts(prefixes),
        )

    @rule(index=PICKS)
    def release(self, index):
        if self.world.leases:
            self.world.release_key(sorted(self.world.leases)[index % len(self.world.leases)])

    @rule(seconds=st.sampled_from([0.0, 0.1, 3.0]))
    def work(self, seconds):
        """Let everything go well for a while: rules alone rarely get far."""
        self.world.work(seconds)

    @rule(number=OWNERS)
    def withdraw(self, number):
        if owner(number) not in self.world.leases:
            self.world.withdraw(number)

    @precondition(lambda self: self.world.pending)
    @rule(index=PICKS)
    def perform(self, index):
        self.world.perform(index)

    @precondition(lambda self: self.world.pending)
    @rule(index=PICKS)
    def perform_and_lose_the_answer(self, index):
        self.world.lose_answer(index)

    @precondition(lambda self: self.world.pending)
    @rule(index=PICKS, failure=FAILURES)
    def fail(self, index, failure):
        self.world.fail(failure, index)

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0, 20.0, 130.0]))
    def sleep(self, seconds):
        self.world.sleep(seconds)

    @rule()
    def wake(self):
        self.world.wake()

    @rule(done=st.lists(st.booleans(), min_size=8, max_size=8))
    def crash(self, done):
        verdicts = iter(done)
        waiting = set(self.world.pool.waiting)
        self.world.crash(lambda _: next(verdicts, False))
        # ADDs that waited died with the process: the runtime calls again, or does not.
        assert not waiting & set(self.world.pool.waiting)

    @rule(index=PICKS)
    def somebody_detaches_an_eni(self, index):
        used = [e for e in self.world.cloud.enis.values() if e.status is ENIStatus.IN_USE]
        if used:
            self.world.cloud.detach_by_hand(used[index % len(used)].id)

    @invariant()
    def everybody_keeps_what_he_was_given(self):
        held: dict[AttachmentKey, set[IPAddress]] = {}
        for slot in self.world.pool.slots.values():
            if slot.owner is not None:
                assert slot.phase is AddressPhase.BOUND
                held.setdefault(slot.owner, set()).add(slot.address)
        assert held == {key: set(one.addresses) for key, one in self.world.leases.items()}

    @invariant()
    def nobody_shares_an_address(self):
        given = [ip for lease in self.world.leases.values() for ip in lease.addresses]
        assert len(given) == len(set(given))

    @invariant()
    def the_journal_says_who_has_what(self):
        on_disk = {one.key: one.lease for one in self.world.disk.attachments.values()}
        assert on_disk == self.world.leases

    @invariant()
    def everybody_is_where_he_asked_to_be(self):
        for key, lease in self.world.leases.items():
            eni, wish = self.world.cloud.enis[lease.eni_id], self.asked[key]
            assert not wish.vswitch_ids or eni.vswitch_id in wish.vswitch_ids
            if wish.security_group_ids:
                assert eni.security_group_ids == wish.security_group_ids

    @invariant()
    def limits_are_kept(self):
        ours = [e for e in self.world.cloud.enis.values() if e.instance_id is not None]
        assert len(ours) <= self.world.cloud.eni_slots

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        calls = world.cloud.calls.total()
        world.settle()
        world.sleep(700)  # the fuller reading finds what nobody remembers
        world.settle()

        assert world.cloud.calls.total() - calls < 150, "calls without end"
        assert set(world.cloud.enis) == set(world.pool.enis)
        assert {e.phase for e in world.pool.enis.values()} <= {ENIPhase.IN_USE}
        pooled = {ip for ip in world.cloud.addresses() if ip.version in self._versions()}
        single = {slot.address for slot in world.pool.slots.values() if slot.prefix is None}
        assert pooled == single
        self._check_prefixes(world)
        self._check_groups(world)
        assert not [s for s in world.pool.slots.values() if s.is_missing]
        self._check_size(world)

        before = world.cloud.mutating_calls - world.without_room
        world.sleep(700)
        world.settle()
        # Whether a vSwitch has a whole range again is known only by asking for one now and then.
        after = world.cloud.mutating_calls - world.without_room
        assert after == before, "a settled pool changes nothing"

    def _check_prefixes(self, world):
        """All that is left is in the cloud, and what gives addresses is what was asked for."""
        ours = {
            one for e in world.cloud.enis.values() for one in (*e.ipv4_prefixes, *e.ipv6_prefixes)
        }
        assert ours == set(world.pool.prefixes)
        first = [p for p in ours if p.version == world.config.families[0].value]
        giving = [p for p in first if world.pool.prefixes[p].phase is PrefixPhase.VALID]
        assert len(giving) <= world.config.prefixes
        for network in ours - set(giving):
            is_follower = network not in first
            is_used = any(slot.prefix == network for slot in world.pool.slots.values())
            assert is_follower or is_used, f"{network} gives nothing and serves nobody"

    def _check_groups(self, world):
        special = {eni.id for eni in world.pool.enis.values() if eni.own_group_ids}
        for eni in world.cloud.enis.values():
            assert eni.id in special or eni.security_group_ids == world.config.security_group_ids

    def _versions(self):
        return {family.value for family in self.world.config.families}

    def _check_size(self, world):
        config = world.config
        if config.has_prefixes:
            return
        plain = all(self.asked[key] == ORDINARY for key in world.leases)
        plain = plain and all(is_ordinary(config, eni) for eni in world.pool.enis.values())
        left = config.capacity - len(world.leases)
        is_roomy = world.cloud.vswitches[config.vswitch_ids[0]].available_ip_count > 100
        if plain and is_roomy and not world.pool.prefixes:
            assert world.free_pairs() >= min(config.min_free, left)
        # An ENI's primary address stays as long as the ENI is needed for others.
        spare = sum(
            slot.is_primary and slot.phase is AddressPhase.FREE
            for slot in world.pool.slots.values()
        )
        assert world.free_pairs() <= config.max_free + max(spare, 0)


TestPoolLife = PoolLife.TestCase
TestPoolLife.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
