"""What the cloud refuses is met elsewhere, or held back; what it does not answer is asked again."""

from __future__ import annotations

import pytest

from terway.ipam.commands import (
    AssignAddresses,
    AttachENI,
    CreateENI,
    DetachENI,
    FlushConntrack,
    Observe,
    WaitLink,
)
from terway.ipam.failure import Failure, FailureKind, classify
from terway.ipam.settings import VSwitchPolicy
from terway.ipam.values import ENIPhase
from terway.model.errors import (
    BugError,
    CapacityError,
    ConflictError,
    ThrottledError,
    TransientError,
    UsageError,
)
from terway.model.ids import ClientToken
from tests.support.model_cloud import ModelCloud, vswitch
from tests.support.pool_world import Kind, World, owner


def ready(cloud: ModelCloud | None = None, **changes) -> World:
    """Return a world whose pool has looked at its cloud."""
    world = World(cloud, **changes)
    world.sleep(0)
    world.work(1)
    return world


def failure(kind: FailureKind, **others) -> Failure:
    return Failure(kind=kind, reason=f"the cloud says {kind.value}", **others)


def index_of(world: World, kind: type) -> int:
    return next(i for i, one in enumerate(world.pending) if isinstance(one, kind))


def only(world: World, kind: type[Kind]) -> Kind:
    (command,) = world.commands(kind)
    return command


def test_an_unanswered_create_is_repeated_with_the_same_token_and_values():
    world = ready()
    world.acquire(1)
    world.wake()
    first = only(world, CreateENI).intent

    world.lose_answer()
    world.wake()

    again = only(world, CreateENI).intent
    assert (again.token, again.tags, again.ipv4_count) == (first.token, first.tags, 1)
    world.work(5)
    assert len(world.cloud.enis) == 1


def test_an_unanswered_assignment_is_repeated_with_the_same_token():
    world = ready()
    world.acquire(1)
    world.work(5)
    world.acquire(2)
    world.wake()
    first = only(world, AssignAddresses).intent

    world.lose_answer(index_of(world, AssignAddresses))
    while first.token not in {one.intent.token for one in world.commands(AssignAddresses)}:
        world.work_on()

    world.work(20)
    assert world.cloud.addresses() == set(world.pool.slots)


def test_a_crash_between_a_create_and_its_answer_leaks_no_eni():
    """Bug class 2: an ENI that nobody remembers."""
    world = ready()
    world.acquire(1)
    world.wake()

    world.crash(done=lambda command: isinstance(command, CreateENI))
    world.work(5)

    assert len(world.cloud.enis) == 1
    assert set(world.pool.enis) == set(world.cloud.enis)


def test_an_eni_that_nobody_remembers_is_found_by_its_tags_and_deleted():
    world = ready()
    world.acquire(1)
    world.wake()
    world.perform(index_of(world, CreateENI))
    world.disk.enis, world.disk.intents, world.disk.slots = {}, {}, {}  # the journal is lost

    world.crash()
    world.work(5)

    assert world.cloud.enis == {}


def test_an_eni_without_our_tags_is_left_alone():
    world = ready()
    world.acquire(1)
    world.work(5)
    other = world.cloud.create_eni(
        vswitch_id=vswitch(1).id, security_group_ids=(), ipv4_count=1, token=ClientToken("theirs")
    )

    world.sleep(700)
    world.settle()

    assert other.id in world.cloud.enis


def test_a_full_vswitch_is_left_for_another():
    cloud = ModelCloud((vswitch(1), vswitch(2)))
    world = ready(cloud, vswitch_policy=VSwitchPolicy.ORDERED)
    world.acquire(1)
    world.wake()
    assert only(world, CreateENI).intent.vswitch_id == "vsw-1"

    world.fail(failure(FailureKind.VSWITCH_FULL))
    world.wake()

    assert only(world, CreateENI).intent.vswitch_id == "vsw-2"


def test_when_every_vswitch_is_full_waiting_pods_are_told_so_and_asked_again_later():
    world = ready(ModelCloud((vswitch(1),)))
    world.acquire(1)
    world.wake()

    world.fail(failure(FailureKind.VSWITCH_FULL))

    refusal = world.refused[owner(1)]
    assert "vsw-1 has no free address" in refusal.reason
    world.sleep(world.config.vswitch_hold_s + 1)
    world.acquire(1)
    world.work(2)
    assert owner(1) in world.leases


def test_an_eni_in_a_full_vswitch_is_not_asked_and_another_takes_over():
    cloud = ModelCloud((vswitch(1, available=2), vswitch(2)))
    world = ready(cloud, vswitch_policy=VSwitchPolicy.ORDERED)
    for number in range(4):
        world.acquire(number)
        world.work(2)

    assert {eni.vswitch_id for eni in cloud.enis.values()} == {"vsw-1", "vsw-2"}
    assert len(world.leases) == 4


def test_an_eni_quota_holds_back_creation_but_not_what_is_there():
    world = ready()
    world.acquire(1)
    world.work(5)
    world.acquire(2)
    world.work(5)
    for number in range(3, 8):
        world.acquire(number)
    world.wake()
    world.fail(failure(FailureKind.QUOTA), index_of(world, CreateENI))
    world.work(5)

    assert len(world.leases) == 6
    assert [str(key) for key in world.refused] == ["c7/eth0"]
    assert "no ENI can be created" in world.refused[owner(7)].reason


def test_a_refused_attach_gives_the_eni_back():
    cloud = ModelCloud(eni_slots=3)
    world = ready(cloud, max_enis=3)
    cloud.eni_slots = 0  # somebody else took them
    world.acquire(1)
    world.work(30)

    assert cloud.enis == {}
    assert owner(1) in world.refused


def test_an_eni_whose_link_never_comes_is_given_back():
    world = ready()
    world.acquire(1)
    world.wake()
    world.perform(index_of(world, CreateENI))
    world.perform(index_of(world, AttachENI))
    for _ in range(3):
        while not world.commands(WaitLink):
            world.work_on()
        world.fail(failure(FailureKind.TRANSIENT), index_of(world, WaitLink))

    assert {eni.phase for eni in world.pool.enis.values()} == {ENIPhase.DETACHING}


def test_an_attach_that_was_done_but_not_answered_is_found_out_by_looking():
    world = ready()
    world.acquire(1)
    world.wake()
    world.perform(index_of(world, CreateENI))
    world.lose_answer(index_of(world, AttachENI))

    world.work(10)

    assert owner(1) in world.leases
    assert world.cloud.calls["create_eni"] == 1


def test_throttling_slows_all_calls_down_and_success_speeds_them_up_again():
    world = ready()
    world.acquire(1)
    world.wake()
    full = world.pool.budget.rate

    world.fail(failure(FailureKind.THROTTLED, retry_after_s=3.0))

    assert world.pool.budget.rate == full / 2
    world.sleep(2.9)
    assert not world.commands(CreateENI)
    world.work(200)
    assert world.pool.budget.rate > full / 2


def test_a_refusal_that_a_person_must_mend_is_passed_on_to_the_pod():
    world = ready()
    world.acquire(1)
    world.wake()

    world.fail(Failure(kind=FailureKind.REFUSED, reason="Forbidden.RAM: grant this action"))

    assert "grant this action" in world.refused[owner(1)].reason


def test_a_token_that_means_something_else_is_given_up_and_the_cloud_looked_at():
    world = ready()
    world.acquire(1)
    world.wake()
    first = only(world, CreateENI).intent.token

    world.fail(failure(FailureKind.TOKEN_REFUSED))

    assert only(world, Observe).detached
    world.wake()
    assert only(world, CreateENI).intent.token != first


def test_fewer_addresses_than_asked_for_are_kept():
    cloud = ModelCloud((vswitch(1, available=4),), per_eni=10)
    world = ready(cloud)

    for number in range(4):
        world.acquire(number)
    world.work(10)

    assert len(world.leases) == 4


def test_an_unanswered_reading_is_repeated_ever_more_rarely():
    world = World()
    world.sleep(0)
    waits = []
    for _ in range(4):
        world.fail(failure(FailureKind.TRANSIENT), index_of(world, Observe))
        waits.append(world.pool.watch.due_at - world.now)
        while not world.commands(Observe):
            world.wake()

    assert waits == sorted(waits)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ThrottledError("x", retry_after_s=2.0), FailureKind.THROTTLED),
        (TransientError("x"), FailureKind.TRANSIENT),
        (CapacityError("x", code="InvalidVSwitchId.IpNotEnough"), FailureKind.VSWITCH_FULL),
        (CapacityError("x", code="QuotaExceeded.PrivateIpAddress"), FailureKind.VSWITCH_FULL),
        (CapacityError("x", code="InvalidOperation.Ipv4CountExceeded"), FailureKind.ENI_FULL),
        (CapacityError("x", code="EniPerInstanceLimitExceeded"), FailureKind.QUOTA),
        (CapacityError("x", code="SecurityGroupInstanceLimitExceed"), FailureKind.QUOTA),
        (ConflictError("x", code="InvalidEniId.NotFound"), FailureKind.GONE),
        (ConflictError("x", code="IdempotentFailed"), FailureKind.TOKEN_REFUSED),
        (ConflictError("x", code="InvalidOperation.InvalidEniState"), FailureKind.CONFLICT),
        (UsageError("x", code="Forbidden.RAM"), FailureKind.REFUSED),
    ],
)
def test_errors_are_told_apart_by_class_and_code(error, kind):
    assert classify(error).kind is kind


def test_a_bug_is_not_taken_for_an_answer():
    with pytest.raises(BugError):
        classify(BugError("broken"))


def test_a_flush_that_failed_is_tried_again_before_the_rest_is_over():
    world = ready()
    world.acquire(1)
    world.work(5)
    world.release(1)
    world.acquire(2)

    world.fail(failure(FailureKind.TRANSIENT), index_of(world, FlushConntrack))
    assert owner(2) not in world.leases
    world.work(2)

    assert owner(2) in world.leases


def test_an_address_that_cannot_be_flushed_is_not_given_again_but_another_is_asked_for():
    """bug class 6: nobody starves behind addresses that cannot be given"""
    world = ready(ModelCloud(eni_slots=1, per_eni=2))
    world.acquire(1)
    world.work(5)
    first = world.leases[owner(1)]
    world.release(1)
    world.acquire(2)

    for _ in range(150):
        if world.commands(FlushConntrack):
            world.fail(failure(FailureKind.TRANSIENT), index_of(world, FlushConntrack))
        else:
            world.work_on()

    assert world.leases[owner(2)] != first


def test_a_detach_that_was_done_but_not_answered_is_found_out_by_looking():
    world = ready()
    world.acquire(1)
    world.work(5)
    world.release(1)
    while not world.commands(DetachENI):
        world.work_on()

    world.lose_answer(index_of(world, DetachENI))
    world.settle()

    assert world.cloud.enis == {}
    assert world.cloud.calls["detach_eni"] == 2
