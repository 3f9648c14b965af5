"""Time, faults, throttling, permissions and the record of calls of the emulated cloud."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.lab.cloud.cloud import Call
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.keyring import Principal
from terway.lab.cloud.refusal import Refusal
from terway.lab.cloud.throttle import REAL_LIMITS, Throttle, least_time_s
from terway.lab.cloud.transitions import Delays
from tests.support.cloud_world import ECS, REGION, make_world


@pytest.fixture
def world():
    return make_world()


def create(world, token):
    return world.call(
        "CreateNetworkInterface",
        VSwitchId=world.pod_vswitch,
        SecurityGroupId=world.group,
        ClientToken=token,
    )


def test_the_same_seed_and_calls_make_the_same_world():
    first, second = make_world(seed=7), make_world(seed=7)

    assert first.cloud.vpc_state() == second.cloud.vpc_state()
    assert first.create_eni() == second.create_eni()


def test_another_seed_makes_another_world():
    assert make_world(seed=1).instance_id != make_world(seed=2).instance_id


def test_an_unknown_action_or_version_is_refused_by_name(world):
    unknown = world.call("MakeCoffee")
    version = world.call("CreateVpc", version="1999-01-01")

    assert unknown["Code"] == "InvalidAction.NotFound"
    assert "MakeCoffee" in unknown["Message"]
    assert version["Code"] == "InvalidVersion"


def test_a_refusal_has_everything_a_refusal_has(world):
    refused = world.call("MakeCoffee")

    assert set(refused) == {"RequestId", "HostId", "Code", "Message", "Recommend"}


def test_each_action_has_its_own_budget(world):
    world.cloud.throttle.rates["DescribeRegions"] = 2

    codes = [world.call("DescribeRegions").get("Code", "") for _ in range(3)]

    assert codes == ["", "", "Throttling.User"]
    assert "Code" not in world.call("DescribeZones")
    world.pass_time(30.0)
    assert "Code" not in world.call("DescribeRegions")


def test_without_rates_nothing_is_throttled():
    throttle = Throttle({})

    for _ in range(10_000):
        throttle.admit("DescribeRegions", now=0.0)


def test_a_fault_refuses_its_number_of_calls_and_no_more(world):
    world.cloud.faults.add(Fault(action="DescribeRegions", code="InternalError", count=2, skip=1))

    codes = [world.call("DescribeRegions").get("Code", "") for _ in range(4)]

    assert codes == ["", "InternalError", "InternalError", ""]


def test_a_fault_of_another_action_waits(world):
    world.cloud.faults.add(Fault(action="DescribeZones", code="InternalError"))

    assert "Code" not in world.call("DescribeRegions")
    assert world.call("DescribeZones")["Code"] == "InternalError"


def test_cleared_faults_do_nothing(world):
    world.cloud.faults.add(Fault(code="InternalError", count=100))
    world.cloud.faults.clear()

    assert "Code" not in world.call("DescribeRegions")


def test_a_lost_reply_was_carried_out(world):
    world.cloud.faults.add(Fault(loses_reply=True))
    parameters = {
        "RegionId": REGION,
        "VSwitchId": world.pod_vswitch,
        "SecurityGroupId": world.group,
    }
    call = Call(version=ECS, action="CreateNetworkInterface", parameters=parameters)

    reply = world.cloud.perform(call)

    assert reply.lost
    assert world.call("DescribeNetworkInterfaces", Type="Secondary")["TotalCount"] == 1


def test_answers_are_held_back_as_configured(world):
    world.cloud.world.delays = Delays(answer_s={"DescribeRegions": 3.0})
    world.cloud.faults.add(Fault(delay_s=2.0))

    reply = world.cloud.perform(Call(version=ECS, action="DescribeRegions", parameters={}))

    assert reply.delay_s == 5.0


def test_a_token_repeats_the_answer_and_not_the_call(world):
    first, second = create(world, "t"), create(world, "t")

    assert first["NetworkInterfaceId"] == second["NetworkInterfaceId"]
    assert first["RequestId"] != second["RequestId"]
    assert world.call("DescribeNetworkInterfaces", Type="Secondary")["TotalCount"] == 1


def test_a_token_is_forgotten_after_a_day(world):
    first = create(world, "t")
    world.pass_time(86401.0)

    assert create(world, "t")["NetworkInterfaceId"] != first["NetworkInterfaceId"]


def test_a_refused_call_may_be_repeated_with_its_token(world):
    world.cloud.faults.add(Fault(code="InternalError"))

    assert create(world, "t")["Code"] == "InternalError"
    assert "Code" not in create(world, "t")


def test_a_burnt_token_is_useless(world):
    world.cloud.faults.add(Fault(code="InternalError", burns_token=True))
    create(world, "t")

    assert create(world, "t")["Code"] == "IdempotentFailed"


def test_who_may_not_is_told_so(world):
    reader = Principal(arn="acs:ram::1:user/reader", allow=("ecs:Describe*",))

    def code_of(action):
        call = Call(version=ECS, action=action, parameters={"RegionId": REGION}, caller=reader)
        return world.cloud.perform(call).code

    assert code_of("DescribeRegions") == ""
    assert code_of("RunInstances") == "Forbidden.RAM"


def test_calls_are_recorded_with_their_outcome(world):
    with world.cloud.calls.recording() as calls:
        eni_id = world.create_eni()
        world.call("DescribeRegions")
        world.call("MakeCoffee")
    world.call("DescribeRegions")

    assert calls.counts() == {"CreateNetworkInterface": 1, "DescribeRegions": 1, "MakeCoffee": 1}
    assert calls.count() == 3
    assert [call.action for call in calls.mutating] == ["CreateNetworkInterface"]
    assert calls.of("MakeCoffee")[0].code == "InvalidAction.NotFound"
    assert calls.of("CreateNetworkInterface")[0].parameters["VSwitchId"] == world.pod_vswitch
    assert world.cloud.calls.count("DescribeRegions") == 2
    assert eni_id


def test_subscribers_hear_of_each_change_until_they_leave(world):
    heard = []
    leave = world.cloud.subscribe(lambda: heard.append(world.cloud.now()))

    eni_id = world.create_eni()
    world.call("DescribeRegions")
    world.attach(eni_id)
    world.pass_time()
    leave()
    world.create_eni()

    assert len(heard) == 3


def test_next_due_says_when_something_happens(world):
    assert world.cloud.next_due() is None

    world.attach(world.create_eni())

    assert world.cloud.next_due() == world.clock.now + 1.0
    world.pass_time(1.0)
    assert world.cloud.next_due() is None


def test_delays_can_change_while_running(world):
    world.cloud.world.delays = replace(world.cloud.world.delays, attach_s=9.0)

    world.attach(world.create_eni())

    assert world.cloud.next_due() == world.clock.now + 9.0


def test_the_real_limits_are_those_of_the_account_and_each_refusal_counts():
    throttle = Throttle(REAL_LIMITS)
    for _ in range(400):
        throttle.admit("DetachNetworkInterface", now=0.0)

    with pytest.raises(Refusal) as caught:
        throttle.admit("DetachNetworkInterface", now=0.0)

    assert caught.value.code == "Throttling.User"
    assert throttle.refused == {"DetachNetworkInterface": 1}
    throttle.admit("AttachNetworkInterface", now=0.0)  # another bucket


def test_who_calls_as_fast_as_the_limits_allow_is_never_refused():
    throttle = Throttle(REAL_LIMITS)
    calls = {"CreateNetworkInterface": 1500, "AttachNetworkInterface": 1500}
    rate = REAL_LIMITS["CreateNetworkInterface"]

    for number in range(1500):
        at = max(0.0, (number + 1 - rate) * 60.0 / rate)
        for action in calls:
            throttle.admit(action, now=at)

    assert least_time_s(calls) == pytest.approx(120.0)
    assert not throttle.refused
    assert least_time_s({}) == 0.0
