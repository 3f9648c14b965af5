"""CNI requirements K, G and S: CHECK, GC and STATUS, before fakes."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from terway.model.attachment import AttachmentKey
from terway.model.errors import TransientError
from terway.model.ids import ContainerId
from tests.support.cni import FakePool, Node, conf_of, in_a_minute, valid
from tests.support.netns import scratch_netns

C1 = AttachmentKey(container_id=ContainerId("c1"), ifname="eth0")


@pytest.fixture
def netns_paths(tmp_path):
    """Two paths to one network namespace, and one to another."""
    with scratch_netns() as one, scratch_netns() as other:
        link = tmp_path / "link"
        link.symlink_to(one.path)
        yield one.path, str(link), other.path


async def added(node, **env):
    return (await node.run("ADD", **env)).json


async def test_K1_CHECK_without_a_prev_result_is_refused_with_7(node, terwayd):
    await added(node)

    assert (await node.run("CHECK")).json["code"] == 7


async def test_K1_an_address_that_the_result_lacks_is_an_error(node, terwayd):
    result = await added(node)
    result["ips"] = result["ips"][:1]

    ran = await node.run("CHECK", conf_of(prevResult=result))

    assert ran.json["code"] == 102
    assert "2408:4005::a" in ran.json["msg"]


async def test_K1_an_interface_that_the_result_lacks_is_an_error(node, terwayd):
    result = await added(node)
    result["interfaces"][1]["name"] = "eth9"

    assert (await node.run("CHECK", conf_of(prevResult=result))).json["code"] == 102


@pytest.mark.root
async def test_K1_the_netns_counts_by_what_it_is_and_not_by_its_path(node, terwayd, netns_paths):
    one, same, other = netns_paths
    result = await added(node, CNI_NETNS=one)

    async def code(netns):
        ran = await node.run("CHECK", conf_of(prevResult=result), CNI_NETNS=netns)
        return ran.exit_code and ran.json["code"]

    assert [await code(netns) for netns in (one, same, other)] == [0, 0, 102]


async def test_K2_what_later_plugins_added_is_no_error(node, terwayd):
    result = await added(node)
    result["routes"].append({"dst": "10.0.0.0/8", "gw": "169.254.1.1"})
    result["interfaces"].append({"name": "ifb0"})
    result["ips"].append({"address": "10.9.9.9/24", "interface": 1})

    assert (await node.run("CHECK", conf_of(prevResult=result))).exit_code == 0


async def test_K3_a_difference_in_the_kernel_is_named(node, terwayd):
    result = await added(node)
    node.network.broken[C1] = [("route to 192.168.32.10/32 is missing",)]

    ran = await node.run("CHECK", conf_of(prevResult=result))

    assert (ran.exit_code, ran.json["code"]) == (1, 102)
    assert "route to 192.168.32.10/32 is missing" in ran.json["msg"]


async def test_K4_an_attachment_that_the_journal_does_not_know_is_an_error(node, terwayd):
    result = await added(node)
    await node.run("DEL")

    assert (await node.run("CHECK", conf_of(prevResult=result))).json["code"] == 102


async def test_K4_K5_without_terwayd_CHECK_fails(node):
    async with node.terwayd():
        result = await added(node)

    assert (await node.run("CHECK", conf_of(prevResult=result))).json["code"] == 11


async def test_K6_a_difference_that_goes_away_in_a_moment_is_none(node, terwayd):
    result = await added(node)
    node.network.broken[C1] = [("link eth0 is down",), ()]

    assert (await node.run("CHECK", conf_of(prevResult=result))).exit_code == 0


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
async def test_K8_CHECK_prints_nothing_on_success_and_needs_no_cni_path(node, terwayd, version):
    result = (await node.run("ADD", conf_of(version))).json

    ran = await node.run("CHECK", conf_of(version, prevResult=result), CNI_PATH=None)

    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, b"", b"")


async def test_S1_STATUS_succeeds_when_an_ADD_would(node, terwayd):
    assert (await node.run("STATUS")).exit_code == 0


async def test_S2_S3_an_exhausted_pool_is_50_with_its_reason(tmp_path):
    node = Node(folder=tmp_path, pool=FakePool(size=0))
    async with node.terwayd():
        ran = await node.run("STATUS")

    assert (ran.exit_code, ran.json["code"]) == (1, 50)
    assert "all addresses of the node are in use" in ran.json["msg"]


async def test_S2_lost_addresses_of_living_pods_make_it_51(tmp_path):
    node = Node(folder=tmp_path, pool=FakePool(size=1))
    async with node.terwayd():
        await added(node)
        node.pool.missing = (IPv4Address("192.168.32.10"),)
        ran = await node.run("STATUS")

    assert (ran.exit_code, ran.json["code"]) == (1, 51)
    assert "192.168.32.10" in ran.json["msg"]


async def test_S2_lost_addresses_alone_do_not_make_an_ADD_impossible(node, terwayd):
    node.pool.missing = (IPv4Address("192.168.32.10"),)

    assert (await node.run("STATUS")).exit_code == 0


async def test_S1_a_node_whose_pods_have_all_its_addresses_is_full_not_broken(tmp_path):
    node = Node(folder=tmp_path, pool=FakePool(size=1))
    async with node.terwayd():
        assert (await node.run("ADD")).exit_code == 0

        ran = await node.run("STATUS")

    assert (ran.exit_code, ran.stdout) == (0, b"")


async def test_S2_S3_a_terwayd_that_is_away_is_50(node):
    ran = await node.run("STATUS")

    assert (ran.exit_code, ran.json["code"]) == (1, 50)


async def test_S4_ADD_and_DEL_work_without_and_after_a_failing_STATUS(node):
    await node.run("STATUS")

    async with node.terwayd():
        assert (await node.run("ADD")).exit_code == 0
        assert (await node.run("DEL")).exit_code == 0


async def test_G1_what_is_not_in_the_list_is_undone(node, terwayd):
    for container_id in ("a", "b", "c"):
        await added(node, CNI_CONTAINERID=container_id)

    ran = await node.run("GC", conf_of(**valid("b")))

    assert ran.exit_code == 0
    assert [str(one.key) for one in node.pool.attachments()] == ["b/eth0"]


async def test_G1_the_interface_counts_as_well_as_the_container(node, terwayd):
    await added(node, CNI_IFNAME="eth1")

    await node.run("GC", conf_of(**valid("c1", ifname="eth0")))

    assert node.pool.attachments() == ()


async def test_G1_a_null_list_is_an_empty_one_and_no_list_is_refused(node, terwayd):
    await added(node)

    assert (await node.run("GC", conf_of())).json["code"] == 7
    assert len(node.pool.attachments()) == 1
    assert (await node.run("GC", conf_of() | {"cni.dev/valid-attachments": None})).exit_code == 0
    assert node.pool.attachments() == ()


async def test_G2_G5_GC_needs_no_network_namespace_and_prints_nothing(node, terwayd):
    await added(node, CNI_NETNS="/run/netns/gone")

    ran = await node.run("GC", conf_of(**valid()), CNI_NETNS=None)

    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, b"", b"")


async def test_G3_a_failure_does_not_stop_the_rest_and_is_reported(node, terwayd):
    for container_id in ("a", "b"):
        await added(node, CNI_CONTAINERID=container_id)
    detach = node.network.detach

    async def failing_for_a(attachment):
        if attachment.key.container_id == "a":
            raise TransientError("a does not go")
        await detach(attachment)

    node.network.detach = failing_for_a
    ran = await node.run("GC", conf_of(**valid()))

    assert (ran.exit_code, ran.json["details"]) == (1, "a does not go")
    assert [str(one.key) for one in node.pool.attachments()] == ["a/eth0"]


async def test_G7_an_attachment_of_another_network_is_left_alone(node, terwayd):
    await node.run("ADD", conf_of(name="other"))

    await node.run("GC", conf_of(**valid()))

    assert len(node.pool.attachments()) == 1


async def test_G7_an_attachment_younger_than_the_list_is_left_alone(tmp_path):
    # given an attachment of the future, as a clock sees it that the list was not made by
    node = Node(folder=tmp_path, pool=FakePool(clock=in_a_minute))
    async with node.terwayd():
        await added(node)

        await node.run("GC", conf_of(**valid()))

    assert len(node.pool.attachments()) == 1


async def test_G7_an_ADD_that_is_not_finished_is_left_alone(node, terwayd):
    node.network.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        adding = tasks.create_task(node.run("ADD"))
        await node.network.entered.wait()

        assert (await node.run("GC", conf_of(**valid()))).exit_code == 0
        node.network.gate.set()

    assert adding.result().exit_code == 0
    assert len(node.pool.attachments()) == 1
