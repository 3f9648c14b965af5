"""Pods whose interfaces the control plane says: the verbs are the same, the pool is not asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from terway.agent.podeni import Here, interfaces_of_podeni
from terway.kube.types import Pod
from terway.model.attachment import AttachmentKey
from terway.model.errors import TransientError
from terway.model.ids import ContainerId, InstanceId
from tests.support.cni import FakeNetwork, FakePool, Node, conf_of, valid
from tests.support.podenis import HERE, TRUNK, allocation, pod, podeni, read

ARGS = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1"
TWO = podeni(allocation(31), allocation(32, interface="eth1"))


class OnePod:
    """The API, with the pod."""

    async def find(self, ref) -> Pod:
        return pod()


@dataclass
class Claims:
    """PodENIs that are there at once."""

    manifest: dict = field(default_factory=podeni)
    error: TransientError | None = None

    def has_one(self, pod) -> bool:
        return True

    async def interfaces(self, call, pod, policy):
        if self.error is not None:
            raise self.error
        here = Here(instance_id=InstanceId(HERE), eni=lambda _: TRUNK)
        return interfaces_of_podeni(call, pod, read(self.manifest), policy, here)


def node_of(tmp_path, claims: Claims, **parts) -> Node:
    return Node(folder=tmp_path, pods=OnePod(), claims=claims, **parts)


async def test_add_check_and_del_are_those_of_any_pod(tmp_path):
    pool = FakePool(size=0)  # it has nothing to give
    node = node_of(tmp_path, Claims(), pool=pool)
    async with node.terwayd():
        result = (await node.run("ADD", CNI_ARGS=ARGS)).json

        assert [ip["address"] for ip in result["ips"]] == ["192.168.96.31/32", "fd00:0:3::1f/128"]
        assert (await node.run("ADD", CNI_ARGS=ARGS)).json["ips"] == result["ips"]
        check = await node.run("CHECK", conf_of(prevResult=result), CNI_ARGS=ARGS)
        assert check.exit_code == 0
        assert (await node.run("DEL", CNI_ARGS=ARGS)).exit_code == 0
    assert pool.attachments() == ()


async def test_several_networks_come_and_go_together(tmp_path):
    network = FakeNetwork()
    node = node_of(tmp_path, Claims(TWO), network=network)
    async with node.terwayd():
        result = (await node.run("ADD", CNI_ARGS=ARGS)).json
        inside = [one["name"] for one in result["interfaces"] if "sandbox" in one]
        assert inside == ["eth0", "eth1"]

        assert (await node.run("DEL", CNI_ARGS=ARGS)).exit_code == 0
    assert network.attached == {}


async def test_one_interface_that_fails_undoes_all(tmp_path):
    network = FakeNetwork(attach_error=TransientError("no trunk"))
    node = node_of(tmp_path, Claims(TWO), network=network)
    async with node.terwayd():
        assert (await node.run("ADD", CNI_ARGS=ARGS)).json["code"] == 11
    assert node.pool.attachments() == ()


async def test_what_is_missing_of_a_podeni_is_adds_answer(tmp_path):
    node = node_of(tmp_path, Claims(error=TransientError("its phase is Binding")))
    async with node.terwayd():
        answer = (await node.run("ADD", CNI_ARGS=ARGS)).json

    assert answer["code"] == 11
    assert "its phase is Binding" in answer["msg"] + answer.get("details", "")


async def test_a_later_sandbox_has_the_eni_and_the_del_of_the_older_one_takes_nothing(tmp_path):
    """Bug class 24."""
    network = FakeNetwork()
    node = node_of(tmp_path, Claims(), network=network)
    async with node.terwayd():
        await node.run("ADD", CNI_ARGS=ARGS)
        await node.run("ADD", CNI_ARGS=ARGS.replace("c1", "c2"), CNI_CONTAINERID="c2")
        assert (await node.run("DEL", CNI_ARGS=ARGS)).exit_code == 0

    later = AttachmentKey(container_id=ContainerId("c2"), ifname="eth0")
    assert [one.key for one in node.pool.attachments()] == [later]
    assert set(network.attached) == {later}
    assert ("detach", "c1/eth0") in network.calls


async def test_gc_forgets_what_is_not_in_the_list(tmp_path):
    node = node_of(tmp_path, Claims())
    async with node.terwayd():
        await node.run("ADD", CNI_ARGS=ARGS)
        assert (await node.run("GC", conf_of(**valid("c1")))).exit_code == 0
        assert len(node.pool.attachments()) == 1

        assert (await node.run("GC", conf_of(**valid("c9")))).exit_code == 0

    assert node.pool.attachments() == ()
