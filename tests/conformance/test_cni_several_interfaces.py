"""A pod with several interfaces is one ADD: all of them, or none, and all go together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from terway.kube.types import ObjectMeta, Pod
from terway.model.attachment import AttachmentKey
from terway.model.errors import TransientError
from terway.model.ids import ContainerId
from tests.support.cni import FakeNetwork, FakePool, Node, conf_of, in_a_minute, valid

ARGS = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1"
TWO = ({"interface": "eth0"}, {"interface": "net1", "extraRoutes": [{"dst": "10.0.0.0/8"}]})


@dataclass
class OnePod:
    """The API, with one pod whose networks may change."""

    networks: tuple[dict[str, Any], ...] = TWO

    async def find(self, ref) -> Pod:
        text = json.dumps({"podNetworks": self.networks})
        annotations = {"k8s.aliyun.com/pod-networks": text}
        return Pod(metadata=ObjectMeta(name="web", namespace="default", annotations=annotations))


def held(node: Node) -> list[str]:
    return [one.key.ifname for one in node.pool.attachments()]


async def test_the_result_lists_every_interface_with_its_addresses_and_routes(tmp_path):
    node = Node(folder=tmp_path, pods=OnePod())
    async with node.terwayd():
        result = (await node.run("ADD", CNI_ARGS=ARGS)).json

        inside = [one["name"] for one in result["interfaces"] if "sandbox" in one]
        assert inside == ["eth0", "net1"]
        assert [ip["interface"] for ip in result["ips"]] == [1, 1, 3, 3]
        assert [route["dst"] for route in result["routes"]] == ["0.0.0.0/0", "::/0", "10.0.0.0/8"]
        assert (await node.run("ADD", CNI_ARGS=ARGS)).json["ips"] == result["ips"]
        check = await node.run("CHECK", conf_of(prevResult=result), CNI_ARGS=ARGS)
        assert check.exit_code == 0


async def test_one_interface_that_fails_undoes_all_in_reverse(tmp_path):
    pool = FakePool(size=1)
    network = FakeNetwork()
    node = Node(folder=tmp_path, pods=OnePod(), pool=pool, network=network)
    async with node.terwayd():
        ran = await node.run("ADD", CNI_ARGS=ARGS)

    assert ran.json["code"] == 11
    assert held(node) == []
    assert network.attached == {}


async def test_a_kernel_that_fails_undoes_the_last_interface_first(tmp_path):
    network = FakeNetwork(attach_error=TransientError("no"))
    node = Node(folder=tmp_path, pods=OnePod(), network=network)
    async with node.terwayd():
        await node.run("ADD", CNI_ARGS=ARGS)

    assert network.calls[1:] == [("detach", "c1/net1"), ("detach", "c1/eth0")]
    assert held(node) == []


async def test_DEL_of_the_first_interface_takes_all_and_of_another_none(tmp_path):
    network = FakeNetwork()
    node = Node(folder=tmp_path, pods=OnePod(), network=network)
    async with node.terwayd():
        await node.run("ADD", CNI_ARGS=ARGS)
        other = await node.run("DEL", CNI_IFNAME="net1", CNI_ARGS=ARGS)
        assert (other.exit_code, sorted(held(node))) == (0, ["eth0", "net1"])

        assert (await node.run("DEL", CNI_ARGS=ARGS)).exit_code == 0

    assert held(node) == []
    assert network.calls[-2:] == [("detach", "c1/net1"), ("detach", "c1/eth0")]


async def test_GC_names_only_the_first_interface(tmp_path):
    node = Node(folder=tmp_path, pods=OnePod())
    async with node.terwayd(clock=in_a_minute):
        pass
    async with node.terwayd():
        await node.run("ADD", CNI_ARGS=ARGS)
        await node.run("GC", conf_of(**valid("c1")))
        assert sorted(held(node)) == ["eth0", "net1"]

        await node.run("GC", conf_of(**valid("other")))

    assert held(node) == []


async def test_an_ADD_again_that_asks_for_other_interfaces_begins_anew(tmp_path):
    pods = OnePod()
    node = Node(folder=tmp_path, pods=pods)
    async with node.terwayd():
        await node.run("ADD", CNI_ARGS=ARGS)
        pods.networks = ({"interface": "eth0"}, {"interface": "net2"})

        await node.run("ADD", CNI_ARGS=ARGS)

    assert sorted(held(node)) == ["eth0", "net2"]


async def test_CHECK_looks_at_every_interface(tmp_path):
    network = FakeNetwork()
    node = Node(folder=tmp_path, pods=OnePod(), network=network)
    async with node.terwayd():
        result = (await node.run("ADD", CNI_ARGS=ARGS)).json
        key = AttachmentKey(container_id=ContainerId("c1"), ifname="net1")
        network.broken[key] = [("a rule is missing",)]

        check = await node.run("CHECK", conf_of(prevResult=result), CNI_ARGS=ARGS)

    assert "net1" in check.json["msg"]


async def test_a_wish_that_cannot_be_had_is_refused_with_its_path(tmp_path):
    node = Node(folder=tmp_path, pods=OnePod(networks=({"interface": "net1"},)))
    async with node.terwayd():
        ran = await node.run("ADD", CNI_ARGS=ARGS)

    assert "k8s.aliyun.com/pod-networks.podNetworks" in ran.json["msg"]
    assert held(node) == []
