"""Pods with ENIs of their own, over a real API server and an emulated cloud, round by round."""

from __future__ import annotations

import json

import pytest

from terway.controlplane.clusterconf import parse_eni_conf
from terway.controlplane.podenis.sweep import Sweep
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, POD_NETWORKINGS
from terway.kube.resource import NAMESPACES, NODES, PODS
from terway.lab.cloud.faults import Fault
from terway.podeni.settings import Settings
from tests.support.pod_eni_cluster import PREFIX, RAW_PODS, apply, open_pod_eni_cluster


@pytest.fixture
async def cluster(tmp_path):
    async with open_pod_eni_cluster(tmp_path) as cluster:
        yield cluster


def networks(cluster, *, interface="eth0", **allocation):
    one = {
        "interface": interface,
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
    }
    if allocation:
        one["allocationType"] = allocation
    return one


def annotated(*listed):
    return {f"{PREFIX}pod-networks": json.dumps({"podNetworks": listed})}


def fixed(cluster, after="10m"):
    return networks(cluster, type="Fixed", releaseStrategy="TTL", releaseAfter=after)


async def bound(cluster, name="web-0"):
    await cluster.settle()
    record = await cluster.record(name)
    assert record is not None
    assert record.status.phase == "Bind", (record.status, cluster.errors[-3:])
    return record


async def test_a_pod_on_a_trunk_node_gets_a_member_eni(cluster):
    pod = await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))

    record = await bound(cluster)

    (one,) = record.spec.allocations
    (interface,) = await cluster.interfaces()
    (eni,) = cluster.our_enis()
    assert record.metadata.annotations[f"{PREFIX}pod-uid"] == pod["metadata"]["uid"]
    assert record.metadata.labels[f"{PREFIX}node"] == "n1"
    assert record.status.trunk_eni_id == cluster.trunks["n1"]
    assert record.status.eni_infos[one.eni.id].vid == 1
    assert record.status.eni_infos[one.eni.id].type == "Member"
    assert (interface.metadata.name, interface.status.phase) == (one.eni.id, "Bind")
    assert (eni["NetworkInterfaceId"], eni["Status"]) == (one.eni.id, "InUse")
    assert one.ipv4 == eni["PrivateIpAddress"]
    assert one.ipv4_cidr == "192.168.32.0/19"
    assert one.ipv6
    assert one.default_route


@pytest.mark.parametrize("owner", ["StatefulSet", "ReplicaSet"])
async def test_each_pod_on_a_node_of_whole_enis_gets_one_without_asking(cluster, owner):
    cluster.settings = Settings(has_whole_nodes=True)
    vswitches = {"cn-hangzhou-i": [cluster.cloud.pod_vswitch]}
    cluster.conf = parse_eni_conf(
        json.dumps({"vswitches": vswitches, "security_group": cluster.cloud.group})
    )
    await cluster.make_pod("web-0", "x1", owner=owner)

    record = await bound(cluster)

    assert record.status.trunk_eni_id == ""
    assert record.status.instance_id == cluster.instances["x1"].id
    assert record.status.eni_infos[record.spec.allocations[0].eni.id].type == "Secondary"


async def test_nodes_of_whole_enis_see_to_themselves_where_ipam_is_not_central(cluster):
    await cluster.make_pod("web-0", "x1")

    await cluster.settle()

    assert await cluster.record("web-0") is None


async def test_a_pod_for_a_trunk_is_refused_by_a_node_of_whole_enis(cluster):
    wish = networks(cluster) | {"eniOptions": {"eniType": "Trunk"}}
    await cluster.make_pod("web-0", "x1", annotations=annotated(wish))

    await cluster.settle()

    record = await cluster.record("web-0")
    assert "has whole ENIs only" in record.status.msg
    assert "UpdatePodENIFailed" in cluster.told.reasons("Pod")


async def test_several_whole_enis_are_refused_for_an_ebpf_node_before_one_is_made(cluster):
    cluster.settings = Settings(has_whole_nodes=True)
    said = {"metadata": {"annotations": {f"{PREFIX}datapath": "ebpf"}}}
    await cluster.client.patch(NODES, "x1", said)
    both = networks(cluster), networks(cluster) | {"interface": "eth1"}
    await cluster.make_pod("web-0", "x1", annotations=annotated(*both))

    await cluster.settle()

    assert cluster.our_enis() == []
    record = await cluster.record("web-0")
    assert "whole ENIs for eth0, eth1" in record.status.msg
    assert "UpdatePodENIFailed" in cluster.told.reasons("Pod")

    none = {"metadata": {"annotations": {f"{PREFIX}datapath": None}}}
    await cluster.client.patch(NODES, "x1", none)
    await bound(cluster)
    assert len(cluster.our_enis()) == 2


async def test_the_same_name_has_the_same_address_mac_and_eni_on_another_node(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))
    (before,) = (await bound(cluster)).spec.allocations

    await cluster.delete_pod("web-0")
    await cluster.settle()
    waiting = await cluster.record("web-0")
    assert (waiting.status.phase, waiting.status.instance_id) == ("Unbind", "")
    pod = await cluster.make_pod("web-0", "n2", annotations=annotated(fixed(cluster)))
    record = await bound(cluster)

    (after,) = record.spec.allocations
    assert (after.eni.id, after.eni.mac, after.ipv4, after.ipv6) == (
        before.eni.id,
        before.eni.mac,
        before.ipv4,
        before.ipv6,
    )
    assert record.metadata.annotations[f"{PREFIX}pod-uid"] == pod["metadata"]["uid"]
    assert record.status.trunk_eni_id == cluster.trunks["n2"]


async def test_a_fixed_eni_outlives_the_instance(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))
    (before,) = (await bound(cluster)).spec.allocations

    cluster.cloud.call("StopInstance", InstanceId=cluster.instances["n1"].id, ForceStop="true")
    cluster.cloud.pass_time()
    cluster.cloud.call("DeleteInstance", InstanceId=cluster.instances["n1"].id, Force="true")
    cluster.cloud.pass_time()
    await cluster.client.delete(NODES, "n1")
    await cluster.delete_pod("web-0")
    await cluster.make_pod("web-0", "n2", annotations=annotated(fixed(cluster)))
    (after,) = (await bound(cluster)).spec.allocations

    assert (after.eni.id, after.ipv4) == (before.eni.id, before.ipv4)


async def test_a_fixed_eni_goes_when_its_time_is_over(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster, "10m")))
    await bound(cluster)
    await cluster.delete_pod("web-0")
    await cluster.settle()

    cluster.cloud.pass_time(500.0)
    await cluster.settle()
    assert await cluster.record("web-0") is not None
    cluster.cloud.pass_time(200.0)
    await cluster.settle()

    assert await cluster.record("web-0") is None
    assert (await cluster.interfaces(), cluster.our_enis()) == ((), [])


async def test_an_elastic_eni_goes_with_its_pod(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await bound(cluster)

    await cluster.delete_pod("web-0")
    await cluster.settle()

    assert await cluster.record("web-0") is None
    assert (await cluster.interfaces(), cluster.our_enis()) == ((), [])


async def test_several_networks_of_a_pod_are_several_enis(cluster):
    listed = (networks(cluster), networks(cluster, interface="eth1"))
    pod = await cluster.make_pod("web-0", "n1", annotations=annotated(*listed))

    record = await bound(cluster)

    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"aliyun/member-eni": "2"}
    assert [one.interface for one in record.spec.allocations] == ["eth0", "eth1"]
    assert {info.vid for info in record.status.eni_infos.values()} == {1, 2}


async def test_a_pod_networking_gives_its_network_to_the_pods_it_selects(cluster):
    spec = {
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
        "selector": {"podSelector": {"matchLabels": {"app": "web"}}},
    }
    body = {"metadata": {"name": "red"}, "spec": spec}
    await cluster.client.create(POD_NETWORKINGS.typed(dict), body)
    await cluster.settle()
    networking = await cluster.client.get(POD_NETWORKINGS, "red")
    assert networking.status.status == "Ready"
    assert networking.status.vswitches[0].zone == "cn-hangzhou-i"

    pod = await cluster.make_pod("web-0", "n1", labels={"app": "web"})
    record = await bound(cluster)

    assert pod["metadata"]["annotations"][f"{PREFIX}pod-networking"] == "red"
    term = pod["spec"]["affinity"]["nodeAffinity"]
    assert "cn-hangzhou-i" in json.dumps(term)
    assert record.spec.allocations[0].eni.vswitch_id == cluster.cloud.pod_vswitch


async def make_networking(cluster, name="red", app="web"):
    spec = {
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
        "selector": {"podSelector": {"matchLabels": {"app": app}}},
    }
    body = {"metadata": {"name": name}, "spec": spec}
    await cluster.client.create(POD_NETWORKINGS.typed(dict), body)
    await cluster.settle()


async def test_a_pod_that_came_past_the_webhook_is_told_whose_network_it_has_not(cluster):
    await make_networking(cluster)
    await cluster.make_pod("web-0", "n1", labels={"app": "web"}, is_admitted=False)
    await cluster.make_pod("db-0", "n1", labels={"app": "db"}, is_admitted=False)
    await cluster.make_pod("host", "n1", labels={"app": "web"}, is_admitted=False, hostNetwork=True)
    declines = {f"{PREFIX}pod-eni": "false"}
    await cluster.make_pod(
        "no", "n1", labels={"app": "web"}, annotations=declines, is_admitted=False
    )

    await cluster.settle()

    assert cluster.told.reasons("Pod") == ["PodNetworkingMissed"]
    ((_, _, text),) = (one for one in cluster.told.said if one[0] == "Pod")
    assert text.startswith("PodNetworking red selects this pod")
    assert text.endswith("Delete it to have it made again")
    told = await cluster.client.get(RAW_PODS, "web-0", namespace="default")
    (condition,) = told["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "PodNetworkingMissed")
    assert not cluster.our_enis()


async def test_a_namespace_that_opted_out_is_not_told(cluster):
    await make_networking(cluster)
    labels = {"metadata": {"labels": {f"{PREFIX}pod-eni": "false"}}}
    await cluster.client.patch(NAMESPACES, "default", labels)

    await cluster.make_pod("web-0", "n1", labels={"app": "web"}, is_admitted=False)
    await cluster.settle()

    assert not cluster.told.reasons("Pod")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pod-networking", "by-name"),
        ("pod-networks-request", '[{"interfaceName": "eth0", "network": "by-name"}]'),
    ],
)
async def test_a_pod_that_asks_by_name_has_its_network_unseen_by_any_webhook(cluster, key, value):
    spec = {
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
    }
    body = {"metadata": {"name": "by-name"}, "spec": spec}
    await cluster.client.create(POD_NETWORKINGS.typed(dict), body)
    await cluster.settle()

    asked = {f"{PREFIX}{key}": value}
    await cluster.make_pod("web-0", "n1", annotations=asked, is_admitted=False)

    record = await bound(cluster)
    assert record.spec.allocations[0].eni.vswitch_id == cluster.cloud.pod_vswitch


async def test_a_pod_networking_whose_vswitch_nobody_knows_says_so(cluster):
    spec = {"vSwitchOptions": ["vsw-none"], "securityGroupIDs": [cluster.cloud.group]}
    await cluster.client.create(
        POD_NETWORKINGS.typed(dict), {"metadata": {"name": "red"}, "spec": spec}
    )

    await cluster.settle()

    networking = await cluster.client.get(POD_NETWORKINGS, "red")
    assert (networking.status.status, "vsw-none" in networking.status.message) == ("Fail", True)
    assert "SyncPodNetworkingFailed" in cluster.told.reasons("PodNetworking")


def of_groups(cluster, *groups):
    """Return a PodNetworking `red` of these security groups."""
    spec = {"vSwitchOptions": [cluster.cloud.pod_vswitch], "securityGroupIDs": list(groups)}
    return {"metadata": {"name": "red"}, "spec": spec}


async def test_a_pod_networking_whose_security_group_nobody_knows_says_so(cluster):
    made = of_groups(cluster, cluster.cloud.group, "sg-doesnotexist")
    await cluster.client.create(POD_NETWORKINGS.typed(dict), made)

    await cluster.settle()

    status = (await cluster.client.get(POD_NETWORKINGS, "red")).status
    said = "spec.securityGroupIDs: sg-doesnotexist: no such security group"
    assert (status.status, status.message) == ("Fail", said)
    assert "SyncPodNetworkingFailed" in cluster.told.reasons("PodNetworking")

    groups = of_groups(cluster, cluster.cloud.group)
    await cluster.client.patch(POD_NETWORKINGS, "red", {"spec": groups["spec"]})
    await cluster.settle()
    status = (await cluster.client.get(POD_NETWORKINGS, "red")).status
    assert (status.status, status.message) == ("Ready", "")


async def test_who_may_not_look_for_security_groups_has_networks_all_the_same_and_says_so(cluster):
    denied = Fault(action="DescribeSecurityGroups", code="NoPermission", status=403, count=100)
    cluster.cloud.cloud.faults.add(denied)
    made = of_groups(cluster, cluster.cloud.group)
    await cluster.client.create(POD_NETWORKINGS.typed(dict), made)

    await cluster.settle()

    status = (await cluster.client.get(POD_NETWORKINGS, "red")).status
    assert status.status == "Ready"
    assert "security groups were not looked for" in status.message
    assert "ecs:DescribeSecurityGroups" in status.message
    assert any("not looked for" in text for _, _, text in cluster.told.said)


async def test_a_gated_pod_is_let_go_to_the_zone_of_its_eni(cluster):
    cluster.settings = Settings(has_gates=True)
    pod = await cluster.make_pod("web-0", annotations=annotated(networks(cluster)))
    assert pod["spec"]["schedulingGates"] == [{"name": f"{PREFIX}pod-eni"}]

    await cluster.settle()

    (eni,) = cluster.our_enis()
    let_go = await cluster.client.get(RAW_PODS, "web-0", namespace="default")
    assert not let_go["spec"].get("schedulingGates")
    assert eni["ZoneId"] in json.dumps(let_go["spec"]["affinity"])
    assert eni["Status"] == "Available"


async def test_a_lost_answer_makes_no_second_eni(cluster):
    """Bug class 13: the client token is made of what was written down before the call."""
    cluster.cloud.cloud.faults.add(Fault(action="CreateNetworkInterface", loses_reply=True))
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))

    await bound(cluster)

    assert cluster.errors
    assert len(cluster.our_enis()) == 1


async def test_every_action_may_fail_once(cluster):
    """Bug class 2: whatever fails, the pod gets its ENI, and nothing is left of another."""
    for action in (
        "CreateNetworkInterface",
        "AttachNetworkInterface",
        "DetachNetworkInterface",
        "DeleteNetworkInterface",
        "DescribeNetworkInterfaces",
    ):
        cluster.cloud.cloud.faults.add(Fault(action=action, code="InternalError"))
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await bound(cluster)
    assert len(cluster.our_enis()) == 1

    await cluster.delete_pod("web-0")
    await cluster.settle()
    assert (await cluster.interfaces(), cluster.our_enis()) == ((), [])


async def test_a_token_that_the_cloud_gave_up_is_not_used_for_ever(cluster):
    """Bug class 13: IdempotentFailed."""
    fault = Fault(action="CreateNetworkInterface", code="InternalError", burns_token=True)
    cluster.cloud.cloud.faults.add(fault)
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))

    await bound(cluster)

    assert len(cluster.our_enis()) == 1


async def test_a_control_plane_that_dies_all_the_time_brings_it_about_all_the_same(cluster):
    """Bug class 7: nothing that matters is in memory only."""
    cluster.dies_each_round = True
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))
    (before,) = (await bound(cluster)).spec.allocations

    await cluster.delete_pod("web-0")
    await cluster.make_pod("web-0", "n2", annotations=annotated(fixed(cluster)))
    (after,) = (await bound(cluster)).spec.allocations

    assert after.eni.id == before.eni.id
    assert len(cluster.our_enis()) == 1


async def test_a_full_vswitch_is_passed_over_for_another(cluster):
    wish = networks(cluster)
    wish["vSwitchOptions"] = [cluster.cloud.pod_vswitch, cluster.cloud.node_vswitch]
    refusal = Fault(
        action="CreateNetworkInterface", code="InvalidVSwitchId.IpNotEnough", status=403
    )
    cluster.cloud.cloud.faults.add(refusal)
    await cluster.make_pod("web-0", "n1", annotations=annotated(wish))

    (one,) = (await bound(cluster)).spec.allocations

    assert one.eni.vswitch_id == cluster.cloud.node_vswitch


async def test_mixed_interfaces_are_kept_and_released_each_for_itself(cluster):
    listed = (
        networks(cluster),
        networks(cluster, interface="eth1")
        | {"allocationType": {"type": "Fixed", "releaseStrategy": "Never"}},
    )
    await cluster.make_pod("web-0", "n1", annotations=annotated(*listed))
    eth0, eth1 = (await bound(cluster)).spec.allocations

    await cluster.delete_pod("web-0")
    await cluster.settle()
    assert [one["NetworkInterfaceId"] for one in cluster.our_enis()] == [eth1.eni.id]
    await cluster.make_pod("web-0", "n2", annotations=annotated(*listed))
    new0, new1 = (await bound(cluster)).spec.allocations

    assert new1 == eth1
    assert new0.eni.id != eth0.eni.id


async def test_an_eni_that_nobody_recorded_is_collected_when_it_is_old(cluster):
    tags = {
        "Tag.1.Key": "creator",
        "Tag.1.Value": "terway-controller",
        "Tag.2.Key": "ack.aliyun.com",
        "Tag.2.Value": "c1",
    }
    cluster.cloud.create_eni(**tags)
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await bound(cluster)
    sweep: Sweep = cluster.sweep
    assert await sweep.look() == ()

    cluster.cloud.pass_time(700.0)
    (garbage,) = await sweep.look()
    cluster.cloud.pass_time()

    assert [one["NetworkInterfaceId"] for one in cluster.our_enis()] != [garbage.eni_id]
    assert len(cluster.our_enis()) == 1


async def test_a_wrong_annotation_is_told_to_the_pod(cluster):
    await cluster.make_pod(
        "web-0", "n1", annotations={f"{PREFIX}pod-eni": "true"}, is_admitted=False
    )

    await cluster.settle()

    assert await cluster.record("web-0") is None
    assert "PodCreateFailed" in cluster.told.reasons("Pod")


async def test_a_trunk_that_is_not_there_is_told_and_waited_for(cluster):
    await cluster.client.patch(
        NODES, "n1", {"metadata": {"annotations": {f"{PREFIX}trunk-on": None}}}
    )
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await cluster.settle()
    record = await cluster.record("web-0")
    assert "trunk-on" in record.status.msg

    await cluster.client.patch(
        NODES,
        "n1",
        {"metadata": {"annotations": {f"{PREFIX}trunk-on": cluster.trunks["n1"]}}},
    )
    record = await bound(cluster)

    assert record.status.msg == ""


async def test_a_pod_that_the_copy_does_not_show_keeps_its_interfaces(cluster):
    """A copy of the API that is behind must not cost a pod its network."""
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))
    record = await bound(cluster)
    await cluster.copies.read()
    pods = cluster.controllers[1]._pods
    pods.objects = {}

    await cluster.controllers[1].reconcile(next(iter(cluster.copies.of(POD_ENIS).objects)))

    assert (await cluster.record("web-0")).status == record.status
    assert await cluster.client.get(PODS, "web-0", namespace="default") is not None


async def test_a_fixed_eni_that_somebody_deleted_is_told_and_not_replaced(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))
    (one,) = (await bound(cluster)).spec.allocations
    await cluster.delete_pod("web-0")
    await cluster.settle()

    cluster.cloud.call("DeleteNetworkInterface", NetworkInterfaceId=one.eni.id)
    await cluster.make_pod("web-0", "n2", annotations=annotated(fixed(cluster)))

    async def is_told():
        record = await cluster.record("web-0")
        return "was deleted in the cloud" in record.status.msg

    await cluster.until(is_told)
    assert cluster.our_enis() == []

    await cluster.client.delete(POD_ENIS, "web-0", namespace="default")
    (new,) = (await bound(cluster)).spec.allocations
    assert new.eni.id != one.eni.id


async def test_what_is_known_of_a_vswitch_is_not_asked_for_each_pod(cluster):
    """Bug class 8: a call for each of many would be throttled."""
    for n in range(6):
        await cluster.make_pod(f"web-{n}", "n1", annotations=annotated(networks(cluster)))

    await cluster.settle()

    assert cluster.turns.taken.count("CreateNetworkInterface") == 6
    assert cluster.turns.taken.count("AttachNetworkInterface") == 6
    assert cluster.turns.taken.count("DescribeVSwitches") <= 2


async def test_attachments_of_pods_enis_are_counted_with_their_kind(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await bound(cluster)

    lines = [line for one in cluster.counted.metrics() for line in one.lines()]
    counts = [line for line in lines if "_seconds_count" in line]
    assert counts == [
        'terway_eni_attach_duration_seconds_count{result="success",eni_type="Member"} 1'
    ]


async def test_a_look_at_the_cloud_that_is_refused_is_told_to_the_pod(cluster):
    cluster.cloud.cloud.faults.add(
        Fault(action="DescribeNetworkInterfaces", code="Forbidden.RAM", status=403, message="No.")
    )
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))

    await bound(cluster)

    assert "LookAtENIFailed" in cluster.told.reasons("Pod")


async def test_enis_carry_the_clusters_tags_and_fixed_ones_outlive_instances(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(fixed(cluster)))
    await cluster.make_pod("web-1", "n1", annotations=annotated(networks(cluster)))
    for name in ("web-0", "web-1"):
        await bound(cluster, name)

    enis = {one["NetworkInterfaceId"]: one for one in cluster.our_enis()}
    kept = {}
    for name in ("web-0", "web-1"):
        (one,) = (await cluster.record(name)).spec.allocations
        eni = enis[one.eni.id]
        kept[name] = not eni["DeleteOnRelease"]
        assert {"TagKey": "ack.aliyun.com", "TagValue": "c1"} in eni["Tags"]["Tag"]
    assert kept == {"web-0": True, "web-1": False}


async def test_a_pod_eni_whose_end_nobody_can_see_says_so(cluster):
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await bound(cluster)
    refusal = Fault(action="DescribeNetworkInterfaces", code="Forbidden.RAM", status=403, count=99)
    cluster.cloud.cloud.faults.add(refusal)
    await cluster.delete_pod("web-0")
    # Somebody takes the record of its ENI away by hand, finalizer and all.
    (interface,) = await cluster.interfaces()
    name = interface.metadata.name
    await cluster.client.patch(NETWORK_INTERFACES, name, {"metadata": {"finalizers": None}})
    await cluster.client.delete(NETWORK_INTERFACES, name)
    for _ in range(4):
        await cluster.round()

    assert await cluster.record("web-0") is not None
    assert "DeletePodENIFailed" in cluster.told.reasons("PodENI")

    cluster.cloud.cloud.faults.clear()
    await cluster.settle()
    assert (await cluster.record("web-0"), cluster.our_enis()) == (None, [])


def wanting(cluster, kind):
    return annotated(networks(cluster) | {"eniOptions": {"eniType": kind}})


async def test_one_node_gives_a_whole_eni_to_one_pod_and_a_member_to_another(cluster):
    await cluster.make_pod("web-0", "n1", annotations=wanting(cluster, "ENI"))
    await cluster.make_pod("web-1", "n1", annotations=wanting(cluster, "Trunk"))
    await cluster.make_pod("web-2", "n1", annotations=wanting(cluster, "Default"))

    whole, asked, default = [await bound(cluster, f"web-{one}") for one in range(3)]

    kinds = [next(iter(one.status.eni_infos.values())).type for one in (whole, asked, default)]
    assert kinds == ["Secondary", "Member", "Member"]
    trunks = [one.status.trunk_eni_id for one in (whole, asked, default)]
    assert trunks == ["", cluster.trunks["n1"], cluster.trunks["n1"]]
    assert whole.status.instance_id == cluster.instances["n1"].id


async def test_a_node_without_a_trunk_gives_whole_enis_as_soon_as_it_says_so(cluster):
    await cluster.client.patch(
        NODES, "n1", {"metadata": {"annotations": {f"{PREFIX}trunk-on": None}}}
    )
    await cluster.make_pod("web-0", "n1", annotations=annotated(networks(cluster)))
    await cluster.settle()
    record = await cluster.record("web-0")
    assert "has no trunk ENI" in record.status.msg

    status = {"status": {"allocatable": {"aliyun/eni": "2"}}}
    await cluster.client.patch(NODES, "n1", status, subresource="status")

    record = await bound(cluster)
    (info,) = record.status.eni_infos.values()
    assert (info.type, record.status.trunk_eni_id) == ("Secondary", "")


async def test_a_pod_that_asks_for_the_resource_of_whole_enis_has_one(cluster):
    """The network leaves it open; the second container says it, and nothing is counted twice."""
    asks = {"name": "b", "image": "i", "resources": {"limits": {"aliyun/eni": "1"}}}
    containers = [{"name": "a", "image": "i"}, asks]
    pod = await cluster.make_pod(
        "web-0", "n1", annotations=annotated(networks(cluster)), containers=containers
    )

    record = await bound(cluster)

    assert [one.type for one in record.status.eni_infos.values()] == ["Secondary"]
    limits = [one.get("resources", {}).get("limits", {}) for one in pod["spec"]["containers"]]
    assert limits == [{}, {"aliyun/eni": "1"}]


@pytest.mark.parametrize("has_trunk", [True, False])
@pytest.mark.parametrize("kind", ["Default", "ENI"])
async def test_a_pod_that_comes_twice_is_given_the_same(cluster, has_trunk, kind):
    """The resource that the first round added asks for nothing new in the second."""
    cluster.settings = Settings(has_trunk=has_trunk)
    listed = [networks(cluster), networks(cluster, interface="eth1")]
    listed[0]["eniOptions"] = {"eniType": kind}
    once = await cluster.make_pod("web-0", annotations=annotated(*listed))
    assert cluster.admission is not None

    again = apply(once, cluster.admission.admit_pod(once, "default").patch)

    assert again == once
