"""A member follows its VLAN id: where the PodENI is its pod's, and the journal first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from terway.agent.interfaces import InterfacePolicy
from terway.agent.podeni import Here, interfaces_of_podeni
from terway.agent.podeni_moves import Moves, moved_by
from terway.agent.turns import Turns
from terway.datapath.trunk import members_of
from terway.kube.crds import POD_UID
from terway.model.attachment import Attachment
from terway.model.errors import TransientError
from terway.model.ids import InstanceId, NodeName
from terway.model.interface import Mode
from tests.support.attachments import attachment
from tests.support.podenis import HERE, TRUNK, call, pod, podeni, read

LATER = 7


def member(*, has_device: bool = False) -> Attachment:
    """The pod's attachment, with VLAN id 1."""
    policy = InterfacePolicy(mode=Mode.VETH, has_vlan_devices=has_device)
    here = Here(instance_id=InstanceId(HERE), eni=lambda one: TRUNK)
    [one] = interfaces_of_podeni(call(), pod(), read(podeni()), policy, here)
    assert one.lease is not None
    return replace(attachment(), key=one.key, spec=one.spec, lease=one.lease, pod=call().pod)


def said(*, vid: int = LATER, **changes: Any):
    """The PodENI after its ENI was attached again."""
    manifest = podeni()
    manifest["status"]["eniInfos"]["eni-31"]["vid"] = vid
    manifest["metadata"].update(changes.pop("metadata", {}))
    manifest["status"].update(changes)
    return read(manifest)


def vlan_id(one: Attachment | None) -> int:
    return 0 if one is None or one.spec.own_eni is None else one.spec.own_eni.vlan_id


def test_a_member_takes_the_id_that_its_podeni_says():
    assert vlan_id(moved_by(said(), member())) == LATER


@pytest.mark.parametrize(
    "found",
    [
        said(vid=1),
        said(vid=0),
        said(phase="Binding"),
        said(metadata={"annotations": {POD_UID: "u-2"}}),
        said(metadata={"name": "web-1"}),
    ],
    ids=["the same", "none", "not bound", "of another pod", "of another name"],
)
def test_what_says_nothing_new_of_this_very_pod_changes_nothing(found):
    assert moved_by(found, member()) is None


def test_pods_that_are_no_members_are_left_alone():
    assert moved_by(said(), attachment()) is None


@dataclass
class Node:
    """Journal, kernel and network of one node."""

    held: list[Attachment]
    done: list[str] = field(default_factory=list)
    kernel_fails: bool = False

    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(self.held)

    async def change(self, changed: Attachment) -> None:
        self.done.append(f"journal {vlan_id(changed)}")
        self.held = [changed]

    def desired_node_of(self, one: Attachment):
        return tuple(members_of(one, "eth1"))

    async def know_members(self, members) -> None:
        if self.kernel_fails:
            raise TransientError("busy")
        self.done += [f"know {one.vlan_id}" for one in members]

    async def forget_other_members(self, members) -> None:
        self.done.append(f"forget all but {[one.vlan_id for one in members]}")

    async def detach(self, one: Attachment) -> None:
        self.done.append(f"detach {vlan_id(one)}")

    async def mend(self, one: Attachment) -> bool:
        self.done.append(f"mend {vlan_id(one)}")
        return True


def moves(node: Node) -> Moves:
    everything: Any = node
    return Moves(
        everything,
        NodeName("n1"),
        journal=node,
        network=node,
        kernel=everything,
        turns=Turns(),
    )


async def test_the_programs_know_the_new_id_before_they_forget_the_old():
    node = Node([member()])

    await moves(node).take(said())

    assert node.done == ["journal 7", "know 7", "forget all but [7]"]


async def test_a_vlan_device_is_replaced_by_another():
    node = Node([member(has_device=True)])

    await moves(node).take(said())

    assert node.done == ["journal 7", "know 7", "detach 1", "mend 7", "forget all but [7]"]


async def test_a_kernel_that_fails_leaves_the_new_id_to_the_mender():
    node = Node([member()], kernel_fails=True)

    await moves(node).take(said())

    assert node.done == ["journal 7"]
    assert [vlan_id(one) for one in node.attachments()] == [LATER]
