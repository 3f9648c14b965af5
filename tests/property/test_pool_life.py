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
from terway.ipam.values import AddressPhase, ENIPhase
from terway.model.address import Family, IPAddress
from terway.model.attachment import AttachmentKey
from terway.model.eni import ENIStatus
from tests.support.model_cloud import ModelCloud, vswitch
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


class PoolLife(RuleBasedStateMachine):
    @initialize(
        families=st.sampled_from([(Family.V4,), (Family.V6,), (Family.V4, Family.V6)]),
        free=st.sampled_from([(0, 0), (0, 4), (3, 5)]),
        available=st.sampled_from([1000, 9]),
    )
    def start(self, families, free, available):
        cloud = ModelCloud((vswitch(1, available=available), vswitch(2)), eni_slots=3, per_eni=5)
        self.world = World(cloud, families=families, min_free=free[0], max_free=free[1])
        self.world.sleep(0)

    @rule(number=OWNERS)
    def acquire(self, number):
        before = self.world.leases.get(owner(number))
        self.world.acquire(number)
        assert before is None or self.world.leases[owner(number)] == before

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
        assert pooled == set(world.pool.slots)
        assert not [s for s in world.pool.slots.values() if s.is_missing]
        self._check_size(world)

        before = world.cloud.mutating_calls
        world.sleep(700)
        world.settle()
        assert world.cloud.mutating_calls == before, "a settled pool changes nothing"

    def _versions(self):
        return {family.value for family in self.world.config.families}

    def _check_size(self, world):
        config = world.config
        left = config.capacity - len(world.leases)
        if world.cloud.vswitches[config.vswitch_ids[0]].available_ip_count > 100:
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
