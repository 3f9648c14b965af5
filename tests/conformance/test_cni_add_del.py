"""CNI requirements A, D, L and bug classes 18 to 25: ADD and DEL, before fakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from terway.cni.version import SUPPORTED
from terway.model.errors import BugError, TransientError
from tests.support.cni import FakePool, Node, conf_of, in_a_minute, valid

OTHERS: dict[str, Any] = {
    "interfaces": [{"name": "dummy0", "sandbox": "/run/netns/absent"}],
    "ips": [{"address": "10.1.1.1/24", "gateway": "10.1.1.254", "interface": 0}],
    "routes": [{"dst": "10.0.0.0/8", "gw": "10.1.1.254"}],
    "dns": {"nameservers": ["10.1.1.53"], "search": ["example"]},
}


def unversioned(ips):
    return [{key: ip[key] for key in ip if key != "version"} for ip in ips]


@pytest.mark.parametrize("version", SUPPORTED)
async def test_A2_A7_the_result_names_both_ends_the_addresses_and_the_routes(
    node, terwayd, version
):
    result = (await node.run("ADD", conf_of(version))).json

    host, pod = result["interfaces"]
    assert result["cniVersion"] == version
    assert host["name"].startswith("cali")
    assert "sandbox" not in host
    assert (pod["name"], pod["sandbox"]) == ("eth0", "/run/netns/absent")
    assert unversioned(result["ips"]) == [
        {"address": "192.168.32.10/32", "gateway": "169.254.1.1", "interface": 1},
        {"address": "2408:4005::a/128", "gateway": "fe80::1", "interface": 1},
    ]
    assert result["routes"] == [
        {"dst": "0.0.0.0/0", "gw": "169.254.1.1"},
        {"dst": "::/0", "gw": "fe80::1"},
    ]
    assert result["dns"] == {}


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0"])
async def test_A7_before_1_0_0_an_address_names_its_family(node, terwayd, version):
    result = (await node.run("ADD", conf_of(version))).json

    assert [ip["version"] for ip in result["ips"]] == ["4", "6"]


async def test_A7_the_mtu_of_an_interface_is_told_from_1_1_0_on(node, terwayd):
    old = (await node.run("ADD", conf_of("1.0.0", mtu=1400))).json
    new = (await node.run("ADD", conf_of("1.1.0", mtu=1400))).json

    assert [one.get("mtu") for one in old["interfaces"]] == [None, None]
    assert [one["mtu"] for one in new["interfaces"]] == [1400, 1400]


@pytest.mark.parametrize("version", SUPPORTED)
async def test_A3_what_an_earlier_plugin_made_is_kept_before_ours(node, terwayd, version):
    prev = OTHERS | {"cniVersion": version}
    result = (await node.run("ADD", conf_of(version, prevResult=prev))).json

    assert result["interfaces"][0] == OTHERS["interfaces"][0]
    assert [one["name"] for one in result["interfaces"][1:]][1] == "eth0"
    assert [ip["interface"] for ip in result["ips"]] == [0, 2, 2]
    assert unversioned(result["ips"])[0] == OTHERS["ips"][0]
    assert result["routes"][0] == OTHERS["routes"][0]
    assert result["dns"] == OTHERS["dns"]


async def test_A5_an_ADD_again_without_a_DEL_gives_the_same_address(node, terwayd):
    first, second = await node.run("ADD"), await node.run("ADD")

    assert first.json == second.json
    assert len(node.pool.attachments()) == 1


async def test_A6_an_ADD_that_fails_undoes_what_it_did_in_reverse(node, terwayd):
    node.network.attach_error = TransientError("the link did not come up")

    ran = await node.run("ADD")

    assert (ran.json["code"], ran.json["msg"]) == (11, "the link did not come up")
    assert node.network.calls == [("attach", "c1/eth0"), ("detach", "c1/eth0")]
    assert node.pool.attachments() == ()


async def test_a_failed_rollback_leaves_the_journal_to_the_DEL_that_follows(node, terwayd):
    node.network.attach_error = TransientError("no buffer space")
    node.network.detach_error = TransientError("no buffer space")
    assert (await node.run("ADD")).json["code"] == 11
    assert len(node.pool.attachments()) == 1

    node.network.detach_error = None
    assert (await node.run("DEL")).exit_code == 0
    assert node.pool.attachments() == ()


async def test_an_exhausted_pool_says_try_again_later(node, terwayd):
    for number in range(8):
        assert (await node.run("ADD", CNI_CONTAINERID=f"c{number}")).exit_code == 0

    ran = await node.run("ADD", CNI_CONTAINERID="one-too-many")

    assert (ran.json["code"], ran.json["msg"]) == (11, "all addresses of the node are in use")


async def test_a_defect_of_ours_is_told_with_100(node, terwayd):
    node.network.attach_error = BugError("the plan contradicts itself")

    assert (await node.run("ADD")).json["code"] == 100


async def test_D1_DEL_undoes_what_ADD_did(node, terwayd):
    await node.run("ADD")

    ran = await node.run("DEL")

    assert (ran.exit_code, ran.stdout) == (0, b"")
    assert (node.network.attached, node.pool.attachments()) == ({}, ())


async def test_D2_DEL_succeeds_again_and_for_what_never_was(node, terwayd):
    await node.run("ADD")

    for _ in range(3):
        assert (await node.run("DEL")).exit_code == 0
    assert (await node.run("DEL", CNI_CONTAINERID="unheard-of")).exit_code == 0


@pytest.mark.parametrize("prev", [None, {}, {"cniVersion": "1.1.0"}])
async def test_D3_DEL_succeeds_with_an_empty_prev_result(node, terwayd, prev):
    await node.run("ADD")

    assert (await node.run("DEL", conf_of(prevResult=prev))).exit_code == 0
    assert node.pool.attachments() == ()


@pytest.mark.parametrize("netns", [None, "", "/run/netns/gone", "/proc/999999999/ns/net"])
async def test_D4_DEL_without_a_network_namespace_releases_the_address(node, terwayd, netns):
    await node.run("ADD")

    assert (await node.run("DEL", CNI_NETNS=netns)).exit_code == 0
    assert node.pool.attachments() == ()


async def test_D4_a_DEL_that_cannot_be_finished_succeeds_and_is_finished_later(node, terwayd):
    await node.run("ADD")
    node.network.detach_error = TransientError("no buffer space")
    assert (await node.run("DEL")).exit_code == 0
    assert len(node.notes()) == 1

    node.network.detach_error = None
    await terwayd.work_off()

    assert (node.pool.attachments(), node.notes()) == ((), [])


async def test_D6_a_DEL_after_a_failed_ADD_succeeds(node, terwayd):
    node.network.attach_error = TransientError("no")
    await node.run("ADD")

    assert (await node.run("DEL")).exit_code == 0


async def test_L1_32_containers_at_once_get_32_addresses(tmp_path):
    node = Node(folder=tmp_path, pool=FakePool(size=32))
    async with node.terwayd():
        ran = await asyncio.gather(
            *(node.run("ADD", CNI_CONTAINERID=f"c{number}") for number in range(32))
        )

    assert {one.exit_code for one in ran} == {0}
    assert len({one.json["ips"][0]["address"] for one in ran}) == 32


async def test_L1_a_DEL_waits_for_the_ADD_before_it(node, terwayd):
    # given an ADD that is at work in the kernel, and a runtime that gave up waiting for it
    node.network.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        adding = tasks.create_task(node.run("ADD"))
        await node.network.entered.wait()
        deleting = tasks.create_task(node.run("DEL"))

        # when the ADD succeeds late
        node.network.gate.set()

    # then the DEL came after it, and nothing is left (bug class 23)
    assert (adding.result().exit_code, deleting.result().exit_code) == (0, 0)
    assert node.network.calls == [("attach", "c1/eth0"), ("detach", "c1/eth0")]
    assert node.pool.attachments() == ()


async def test_L1_one_slow_container_does_not_hold_up_another(node, terwayd):
    node.network.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(node.run("ADD", CNI_CONTAINERID="slow"))
        await node.network.entered.wait()

        assert (await node.run("DEL", CNI_CONTAINERID="other")).exit_code == 0
        node.network.gate.set()


async def test_a_late_DEL_of_an_old_sandbox_leaves_the_new_one_alone(node, terwayd):
    # given two sandboxes of one pod (bug class 24)
    pod = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0"
    await node.run("ADD", CNI_CONTAINERID="old", CNI_ARGS=pod)
    await node.run("ADD", CNI_CONTAINERID="new", CNI_ARGS=pod)

    await node.run("DEL", CNI_CONTAINERID="old", CNI_ARGS=pod)

    assert [str(one.key) for one in node.pool.attachments()] == ["new/eth0"]


async def test_a_container_that_runs_again_under_its_id_gets_a_new_attachment(node, terwayd):
    await node.run("ADD", CNI_NETNS="/run/netns/first")

    await node.run("ADD", CNI_NETNS="/run/netns/second")

    (attachment,) = node.pool.attachments()
    assert attachment.netns == "/run/netns/second"
    assert [verb for verb, _ in node.network.calls] == ["attach", "detach", "attach"]


async def test_two_interfaces_of_one_container_are_two_attachments(node, terwayd):
    await node.run("ADD", CNI_IFNAME="eth0")
    await node.run("ADD", CNI_IFNAME="eth1")

    await node.run("DEL", CNI_IFNAME="eth1")

    assert [one.key.ifname for one in node.pool.attachments()] == ["eth0"]


async def test_A6_A8_D5_K7_S5_G4_L5_L6_no_other_plugin_is_ever_executed(node, terwayd, tmp_path):
    # Terway delegates to nobody, and is nobody's IPAM plugin: what the specification asks of
    # delegates and of an IPAM plugin's result (A8) has no subject here.
    trap = tmp_path / "bin"
    trap.mkdir()
    for name in ("host-local", "terway", "static"):
        (trap / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
        (trap / name).chmod(0o755)
    conf = conf_of(ipam={"type": "host-local"}, **valid())
    result = (await node.run("ADD", conf, CNI_PATH=str(trap))).json

    for verb in ("CHECK", "STATUS", "GC", "DEL"):
        await node.run(verb, conf | {"prevResult": result}, CNI_PATH=str(trap))

    assert not (tmp_path / "executed").exists()


async def test_L7_the_kind_of_an_earlier_interface_does_not_matter(node, terwayd):
    odd = {"interfaces": [{"name": "vhost-user0", "socketPath": "/run/vhost.sock"}]}

    result = (await node.run("ADD", conf_of(prevResult=odd | {"cniVersion": "1.1.0"}))).json

    assert result["interfaces"][0] == odd["interfaces"][0]


async def test_a_note_about_an_earlier_run_does_not_harm_the_present_one(node):
    async with node.terwayd():
        await node.run("ADD")
    assert (await node.run("DEL")).exit_code == 0  # terwayd is away: a note

    # when the same id is added again before the note was read
    async with node.terwayd(clock=in_a_minute) as answerer:
        await node.run("ADD")
        await answerer.work_off()

    assert len(node.pool.attachments()) == 1
