"""What the webhook answers about pods and PodNetworkings, as patches of what it was shown."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from terway.controlplane.clusterconf import parse_eni_conf
from terway.controlplane.podenis.admission import Admission
from terway.controlplane.podenis.world import ClusterWorld
from terway.kube.crds import (
    POD_ENIS,
    POD_NETWORKINGS,
    AllocatedENI,
    Allocation,
    AllocationType,
    LabelSelector,
    PodENI,
    PodENISpec,
    PodENIStatus,
    PodNetworking,
    PodNetworkingSelector,
    PodNetworkingSpec,
    PodNetworkingStatus,
    VSwitchInZone,
)
from terway.kube.resource import NAMESPACES, key_of
from terway.kube.types import Namespace, ObjectMeta
from terway.model.errors import UsageError
from terway.podeni.settings import Settings
from tests.support.pod_eni_cluster import PREFIX, Copy, apply

CONF = parse_eni_conf(
    json.dumps({"vswitches": {"zone-a": ["vsw-a"], "zone-b": ["vsw-b"]}, "security_group": "sg-1"})
)


PLAIN = Settings()


class World:
    """What the webhook has in memory."""

    def __init__(self, *objects: Any, settings: Settings = PLAIN) -> None:
        kinds: dict[type, Any] = {
            PodNetworking: POD_NETWORKINGS,
            PodENI: POD_ENIS,
            Namespace: NAMESPACES,
        }
        self.copies: dict[Any, Copy] = {one: Copy() for one in kinds.values()}
        for one in objects:
            self.copies[kinds[type(one)]].objects[key_of(one)] = one
        self.admission = Admission(self, ClusterWorld(self, lambda: CONF), lambda: settings)

    def of(self, resource: Any) -> Any:
        return self.copies[resource]

    def admit(self, pod: dict[str, Any]) -> dict[str, Any]:
        return apply(copy.deepcopy(pod), self.admission.admit_pod(pod, "default").patch)


def pod(annotations: dict[str, str] | None = None, owner: str = "StatefulSet", **spec: Any):
    owners = [{"kind": owner, "name": "o", "controller": True}] if owner else []
    return {
        "metadata": {
            "name": "web-0",
            "labels": {"app": "web"},
            "annotations": annotations or {},
            "ownerReferences": owners,
        },
        "spec": {"containers": [{"name": "c"}, {"name": "d"}], **spec},
    }


def networking(name: str = "red", **more: Any) -> PodNetworking:
    return PodNetworking(
        metadata=ObjectMeta(name=name),
        spec=PodNetworkingSpec(
            vswitch_options=("vsw-r",),
            security_group_ids=("sg-r",),
            selector=PodNetworkingSelector(pod_selector=LabelSelector(match_labels={"app": "web"})),
            **more,
        ),
        status=PodNetworkingStatus(
            status="Ready", vswitches=(VSwitchInZone(id="vsw-r", zone="zone-r"),)
        ),
    )


def zones_of(admitted: dict[str, Any]) -> list[list[str]]:
    required = admitted["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    (term,) = required["nodeSelectorTerms"]
    return [one["values"] for one in term["matchExpressions"]]


def test_a_pod_that_asks_for_nothing_gets_in_as_it_is():
    assert World().admission.admit_pod(pod(), "default").patch == []


def test_a_pod_that_is_selected_gets_annotations_a_resource_and_a_zone():
    admitted = World(networking()).admit(pod())

    annotations = admitted["metadata"]["annotations"]
    (one,) = json.loads(annotations[f"{PREFIX}pod-networks"])["podNetworks"]
    assert annotations[f"{PREFIX}pod-eni"] == "true"
    assert annotations[f"{PREFIX}pod-networking"] == "red"
    assert (one["interface"], one["vSwitchOptions"], one["defaultRoute"]) == (
        "eth0",
        ["vsw-r"],
        True,
    )
    first, second = admitted["spec"]["containers"]
    assert first["resources"]["limits"] == {"aliyun/member-eni": "1"}
    assert first["resources"]["requests"] == {"aliyun/member-eni": "1"}
    assert "resources" not in second
    assert zones_of(admitted) == [["zone-r"]]


def test_what_the_pod_has_already_stays():
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
                    {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
                ]
            }
        },
        "podAntiAffinity": {"x": 1},
    }
    wanted = pod({"own": "yes"}, affinity=affinity)
    wanted["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}

    admitted = World(networking()).admit(wanted)

    assert admitted["metadata"]["annotations"]["own"] == "yes"
    limits = admitted["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "aliyun/member-eni": "1"}
    terms = admitted["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert [[one["key"] for one in term["matchExpressions"]] for term in terms] == [
        ["disk", "topology.kubernetes.io/zone"],
        ["gpu", "topology.kubernetes.io/zone"],
    ]
    assert admitted["spec"]["affinity"]["podAntiAffinity"] == {"x": 1}


@pytest.mark.parametrize("settings", [Settings(), Settings(has_gates=True)])
def test_to_be_asked_twice_changes_nothing_more(settings):
    world = World(networking(), settings=settings)
    once = world.admit(pod())

    assert world.admit(once) == once


def test_a_pod_that_wants_an_eni_takes_vswitches_of_eni_config():
    admitted = World().admit(pod({f"{PREFIX}pod-eni": "true"}))

    text = admitted["metadata"]["annotations"][f"{PREFIX}pod-networks"]
    (one,) = json.loads(text)["podNetworks"]
    assert one["vSwitchOptions"] == ["vsw-a", "vsw-b"]
    assert one["securityGroupIDs"] == ["sg-1"]
    assert zones_of(admitted) == [["zone-a", "zone-b"]]


def held(phase: str, kept: str) -> PodENI:
    eni = AllocatedENI(id="eni-1", zone="zone-b")
    one = Allocation(eni=eni, allocation_type=AllocationType(type=kept, release_strategy="Never"))
    return PodENI(
        metadata=ObjectMeta(name="web-0", namespace="default"),
        spec=PodENISpec(allocations=(one,), zone="zone-b"),
        status=PodENIStatus(phase=phase),
    )


@pytest.mark.parametrize(
    ("record", "zones"),
    [
        (held("Unbind", "Fixed"), [["zone-b"], ["zone-a", "zone-b"]]),
        (held("Bind", "Fixed"), [["zone-b"], ["zone-a", "zone-b"]]),
        (held("Bind", "Elastic"), [["zone-a", "zone-b"]]),
        (held("Deleting", "Fixed"), [["zone-a", "zone-b"]]),
    ],
)
def test_only_an_eni_that_waits_binds_a_pod_to_its_zone(record, zones):
    assert zones_of(World(record).admit(pod({f"{PREFIX}pod-eni": "true"}))) == zones


def test_two_annotations_that_contradict_each_other_are_refused():
    listed = json.dumps({"podNetworks": [{"interface": "eth0"}]})
    wanted = pod({f"{PREFIX}pod-networks": listed, f"{PREFIX}pod-networking": "red"})

    with pytest.raises(UsageError, match="keep one of the two"):
        World(networking()).admission.admit_pod(wanted, "default")


def test_a_request_is_answered_by_the_networks_themselves():
    listed = json.dumps([{"interfaceName": "eth0", "network": "blue"}])
    blue = networking("blue")
    blue = PodNetworking(
        metadata=blue.metadata,
        spec=PodNetworkingSpec(vswitch_options=("vsw-r",), security_group_ids=("sg-r",)),
        status=blue.status,
    )

    admitted = World(blue).admit(pod({f"{PREFIX}pod-networks-request": listed}))

    annotations = admitted["metadata"]["annotations"]
    assert f"{PREFIX}pod-networks-request" not in annotations
    assert "vsw-r" in annotations[f"{PREFIX}pod-networks"]


def test_several_that_select_a_pod_are_told():
    answer = World(networking("red"), networking("blue")).admission.admit_pod(pod(), "default")

    assert "it has blue" in answer.warnings[0]


def test_a_pod_networking_is_completed_from_eni_config():
    raw = {"metadata": {"name": "red"}, "spec": {"securityGroupIDs": ["sg-own"]}}

    (patch,) = World().admission.admit_networking(raw).patch

    assert patch["value"] == {
        "securityGroupIDs": ["sg-own"],
        "vSwitchOptions": ["vsw-a", "vsw-b"],
    }


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"vSwitchOptions": ["vsw-a"], "securityGroupIDs": ["sg-1"] * 11},
        {
            "vSwitchOptions": ["vsw-a"],
            "securityGroupIDs": ["sg-1"],
            "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"},
        },
    ],
)
def test_a_pod_networking_that_no_pod_could_have_is_refused(spec):
    with pytest.raises(UsageError) as caught:
        World().admission.check_networking({"metadata": {"name": "red"}, "spec": spec})

    assert caught.value.field.startswith("spec.")


def told(name: str, world: World, **spec: Any) -> tuple[str, ...]:
    """Return what whoever writes a PodNetworking for the pods app=web is told."""
    selector = {"podSelector": {"matchLabels": {"app": "web"}}}
    listed = {"vSwitchOptions": ["vsw-a"], "securityGroupIDs": ["sg-1"], "selector": selector}
    raw = {"metadata": {"name": name}, "spec": {**listed, **spec}}
    return world.admission.admit_networking(raw).warnings


@pytest.mark.parametrize(("name", "winner"), [("blue", "blue"), ("sand", "red")])
def test_whoever_writes_a_second_network_for_the_same_pods_is_told_which_they_have(name, winner):
    (text,) = told(name, World(networking("red")))

    assert f"PodNetworkings {', '.join(sorted((name, 'red')))} have the same selector" in text
    assert f"pods have {winner}" in text


def test_a_network_that_is_written_again_or_selects_others_is_no_second_one():
    world = World(networking("red"))

    assert told("red", world) == ()
    assert told("blue", world, selector={"podSelector": {"matchLabels": {"app": "db"}}}) == ()
    assert told("blue", world, selector={}) == ()


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({"type": "Elastic", "releaseAfter": "10m"}, ["releaseAfter"]),
        ({"releaseStrategy": "Never"}, ["releaseStrategy"]),
        ({"releaseStrategy": "TTL", "releaseAfter": "10m"}, ["releaseStrategy", "releaseAfter"]),
        ({"type": "Fixed", "releaseAfter": "10m"}, []),
        ({"type": "Elastic"}, []),
    ],
)
def test_a_time_to_stay_of_what_goes_with_its_pod_is_told(said, fields):
    text = "; ".join(told("red", World(), allocationType=said))

    assert bool(text) == bool(fields)
    assert all(f"spec.allocationType.{field}" in text for field in fields)


@pytest.mark.parametrize("field", ["metadata", "spec"])
@pytest.mark.parametrize("value", ["text", ["list"], 7, True])
def test_what_is_no_object_at_all_is_refused_by_its_field_before_a_schema_has_seen_it(field, value):
    raw = {"metadata": {"name": "red"}, "spec": {}, field: value}
    admission = World().admission

    for look in (admission.admit_networking, admission.check_networking):
        with pytest.raises(UsageError, match="must be an object") as caught:
            look(raw)
        assert caught.value.field == field
