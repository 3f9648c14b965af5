"""terwayd over the emulated cloud and the real kernel: what users of a node may rely on."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from terway.lab.cloud.faults import Fault
from tests.support.cni import conf_of, valid
from tests.support.emulated_node import CONFLIST, AwayCloud, emulated_cloud, in_process_terwayd
from tests.support.iproute import ip_here
from tests.support.kernel_node import kernel_node, links_are_gone, node_state, sh
from tests.support.kill_walk import eventually, read_state

pytestmark = pytest.mark.root


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        yield machine


@pytest.fixture
async def world(machine):
    async with emulated_cloud(machine) as world:
        yield world


async def page(daemon, path):
    reader, writer = await asyncio.open_unix_connection(daemon.paths.run_dir / "eni_debug.socket")
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body


async def test_the_first_pod_gets_addresses_of_the_vpc_from_a_new_eni(world, machine, tmp_path):
    async with in_process_terwayd(world, tmp_path) as daemon:
        pod = machine.pod()

        ran = await daemon.node.run("ADD", CNI_NETNS=pod)

        assert ran.exit_code == 0, ran.stdout
        addresses = [ip["address"].partition("/")[0] for ip in ran.json["ips"]]
        assert len(addresses) == 2
        for address in addresses:
            sh(f"ping -n -c1 -w20 {address}")
        (port,) = (one for one in world.cloud.vpc_state().ports if one.ifname == "eth1")
        assert addresses[0] in map(str, port.ipv4)
        assert addresses[1] in map(str, port.ipv6)
        assert (await daemon.node.run("DEL", CNI_NETNS=pod)).exit_code == 0


async def test_the_runtime_is_told_when_terwayd_serves_and_not_untold_when_it_stops(
    world, tmp_path
):
    """Bug class 21: a configuration that is there too early, or taken away."""
    stale = tmp_path / "etc/cni/net.d/10-terway.conf"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")

    async with in_process_terwayd(world, tmp_path) as daemon:
        assert daemon.paths.conflist.read_bytes() == CONFLIST
        assert not stale.exists()
        assert os.access(daemon.paths.cni_bin_dir / "terway", os.X_OK)
        assert daemon.paths.socket.stat().st_mode & 0o777 == 0o600
        assert daemon.paths.run_dir.stat().st_mode & 0o777 == 0o700

    assert daemon.paths.conflist.exists()
    assert not daemon.paths.socket.exists()


async def test_a_restart_keeps_the_pods_and_asks_the_cloud_for_nothing_new(
    world, machine, tmp_path
):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path) as daemon:
        result = (await daemon.node.run("ADD", CNI_NETNS=pod)).json
    before = node_state()
    changing = [one for one in world.cloud.calls.all if one.is_mutating]

    async with in_process_terwayd(world, tmp_path) as daemon:
        check = await daemon.node.run("CHECK", conf_of(prevResult=result), CNI_NETNS=pod)
        again = await daemon.node.run("ADD", CNI_NETNS=pod)

    assert (check.exit_code, again.json) == (0, result)
    assert node_state() == before
    assert [one for one in world.cloud.calls.all if one.is_mutating] == changing


async def test_a_restart_without_the_cloud_serves_what_is_there(world, machine, tmp_path):
    one, two = machine.pod(), machine.pod()
    async with in_process_terwayd(world, tmp_path, min_free=2, max_free=2) as daemon:
        result = (await daemon.node.run("ADD", CNI_CONTAINERID="one", CNI_NETNS=one)).json

        async def has_spare():
            return (await read_state(tmp_path))["pool"]["free"] >= 2

        await eventually(has_spare)

    async with in_process_terwayd(world, tmp_path, cloud=AwayCloud()) as daemon:
        conf = conf_of(prevResult=result)
        check = await daemon.node.run("CHECK", conf, CNI_CONTAINERID="one", CNI_NETNS=one)
        more = await daemon.node.run("ADD", CNI_CONTAINERID="two", CNI_NETNS=two)
        less = await daemon.node.run("DEL", CNI_CONTAINERID="one", CNI_NETNS=one)

    assert (check.exit_code, more.exit_code, less.exit_code) == (0, 0, 0), more


async def test_what_is_nobodys_in_the_kernel_is_removed_at_start(world, machine, tmp_path):
    async with in_process_terwayd(world, tmp_path) as daemon:
        await daemon.node.run("ADD", CNI_NETNS=machine.pod())
        sh("ip rule add to 192.168.40.1 priority 512 lookup main")
        sh("ip link add calistray type veth peer name x1; ip link set calistray alias 'terway x/y'")

    async with in_process_terwayd(world, tmp_path) as daemon:
        await daemon.terwayd.reconciled.wait()

        assert "192.168.40.1" not in sh("ip rule")
        await links_are_gone("calistray")


@pytest.mark.parametrize(
    "damage",
    [
        "ip rule del priority 2048",
        "ip -6 rule del priority 512",
        "ip route flush table 1003",
        "sysctl -qw net.ipv4.ip_forward=0",
    ],
)
async def test_what_others_took_from_the_kernel_is_mended(world, machine, tmp_path, damage):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path) as daemon:
        await daemon.node.run("ADD", CNI_NETNS=pod)
        before = node_state()
    sh(damage.replace("1003", table_of_eth1()))

    async with in_process_terwayd(world, tmp_path) as daemon:
        await daemon.terwayd.reconciled.wait()

        assert node_state() == before
        assert sh("sysctl -n net.ipv4.ip_forward") == "1\n"


def table_of_eth1():
    (link,) = ip_here("link", "show", "eth1")
    return str(1000 + link["ifindex"])


async def test_30_pods_at_once_get_30_pairs_of_addresses_by_few_calls(world, machine, tmp_path):
    pods = [machine.pod() for _ in range(30)]
    async with in_process_terwayd(world, tmp_path) as daemon:
        ran = await asyncio.gather(
            *(
                daemon.node.run("ADD", CNI_CONTAINERID=f"c{number}", CNI_NETNS=pod)
                for number, pod in enumerate(pods)
            )
        )
        assert {one.exit_code for one in ran} == {0}, [one.stdout for one in ran]
        addresses = [ip["address"] for one in ran for ip in one.json["ips"]]
        assert len(set(addresses)) == 60
        gone = await daemon.node.run("GC", conf_of(**valid()))
        assert gone.exit_code == 0
        assert json.loads((await page(daemon, "/debug/state"))[1])["attachments"] == []


async def test_a_full_node_refuses_a_pod_but_passes_STATUS(world, machine, tmp_path):
    async with in_process_terwayd(world, tmp_path, max_enis=1, ipv4_per_eni=1) as daemon:
        assert (await daemon.node.run("ADD", CNI_NETNS=machine.pod())).exit_code == 0

        ran = await daemon.node.run("STATUS")
        more = await daemon.node.run("ADD", CNI_CONTAINERID="c2", CNI_NETNS=machine.pod())

    assert (ran.exit_code, ran.stdout) == (0, b"")
    assert more.json["code"] == 11


async def test_STATUS_says_when_the_cloud_gives_no_more(world, machine, tmp_path):
    empty = Fault(action="CreateNetworkInterface", code="InvalidVSwitchId.IpNotEnough", status=403)
    world.cloud.faults.add(empty)
    async with in_process_terwayd(world, tmp_path) as daemon:
        refused = await daemon.node.run("ADD", CNI_NETNS=machine.pod())

        ran = await daemon.node.run("STATUS")

    assert refused.json["code"] == 11
    assert ran.json["code"] == 50


async def test_the_readonly_listener_shows_health_metrics_and_state(world, machine, tmp_path):
    async with in_process_terwayd(world, tmp_path) as daemon:
        await daemon.node.run("ADD", CNI_NETNS=machine.pod())

        health = await page(daemon, "/healthz")
        assert health[0] == "HTTP/1.0 200 OK"
        assert json.loads(health[1])["checks"] == {
            "loop": "ok",
            "reconcile": "ok",
            "journal": "ok",
        }
        assert (await page(daemon, "/readyz"))[0] == "HTTP/1.0 200 OK"
        assert (await page(daemon, "/nothing"))[0] == "HTTP/1.0 404 Not Found"
        metrics = (await page(daemon, "/metrics"))[1].decode()
        state = json.loads((await page(daemon, "/debug/state"))[1])

    assert 'terway_rpc_latency_count{rpc_api="ADD",error="false"} 1\n' in metrics
    assert 'terway_resource_pool_allocated_count{type="LocalIP"} 2.0' in metrics
    assert [one["key"]["container_id"] for one in state["attachments"]] == ["c1"]
