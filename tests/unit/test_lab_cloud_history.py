"""The past of ENIs, for readers that lag behind, and the index of their present."""

from __future__ import annotations

from terway.lab.cloud.transitions import Delays
from tests.support.cloud_world import make_world


def test_the_past_is_as_it_was_whatever_came_and_went_since():
    world = make_world()
    history = world.cloud.history
    first = world.create_eni()
    began = world.clock.now
    then = dict(history.at(began))

    world.pass_time(10)
    second = world.create_eni()
    world.attach(first)
    world.pass_time(10)
    world.call("DeleteNetworkInterface", NetworkInterfaceId=second)
    world.pass_time(10)

    assert dict(history.at(began)) == then
    assert list(history.at(began)) == list(then)
    assert second in history.at(began + 10)
    assert second not in history.at(world.clock.now)
    assert history.at(world.clock.now) is world.cloud.world.state.enis


def test_what_is_older_than_anybody_lags_is_forgotten():
    world = make_world()
    eni_id = world.create_eni()
    began = world.clock.now

    world.pass_time(121)
    world.create_eni()

    assert eni_id in world.cloud.history.at(began - 1000)


def test_lists_that_lag_show_an_instance_as_it_was():
    world = make_world(delays=Delays(describe_s=5.0))
    world.pass_time(10)
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time(2)

    def listed():
        answer = world.call("DescribeNetworkInterfaces", InstanceId=world.instance_id)
        found = answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        return [one["NetworkInterfaceId"] for one in found]

    assert listed() == [world.instance.primary_eni_id]
    world.pass_time(5)
    assert listed() == [world.instance.primary_eni_id, eni_id]


def test_what_is_asked_of_the_index_is_what_the_records_say():
    world = make_world()
    state = world.cloud.world.state
    made = [world.create_eni(SecondaryPrivateIpAddressCount="3") for _ in range(3)]
    world.create_eni(Ipv4PrefixCount="1", Ipv6PrefixCount="1")
    world.create_eni(Ipv6AddressCount="2")
    world.attach(made[0])
    world.attach(made[1])
    world.pass_time()
    world.call("DetachNetworkInterface", NetworkInterfaceId=made[0], InstanceId=world.instance_id)
    world.pass_time()
    world.call("DeleteNetworkInterface", NetworkInterfaceId=made[2])
    world.pass_time()

    there = state.enis.values()
    pods = [eni for eni in there if eni.vswitch_id == world.pod_vswitch]
    mine = [eni for eni in there if eni.instance_id == world.instance_id]
    assert state.enis_of(world.instance_id) == mine
    assert sorted(state.enis_in(world.pod_vswitch), key=lambda eni: eni.serial) == pods
    addresses = {ip for eni in pods for ip in eni.ipv4}
    addresses |= {ip for eni in pods for prefix in eni.ipv4_prefixes for ip in prefix}
    assert state.taken_v4(world.pod_vswitch) == addresses
    taken = state.taken_v6(world.pod_vswitch)
    assert taken.addresses == {ip for eni in pods for ip in eni.ipv6}
    assert taken.prefixes == {prefix for eni in pods for prefix in eni.ipv6_prefixes}
    assert state.count_members(world.group) == len(there)
