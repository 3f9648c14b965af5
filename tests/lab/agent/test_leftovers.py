"""What an earlier Terway left is cleaned or told of, and what runs is not touched."""

from __future__ import annotations

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from tests.support.bbolt_file import bbolt_file
from tests.support.emulated_node import emulated_cloud, in_process_terwayd
from tests.support.kernel_node import kernel_node, sh
from tests.support.kill_walk import eventually

pytestmark = pytest.mark.root

RELATION = [(b"default/old-0", b"{}"), (b"default/old-1", b"{}")]


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        yield machine


@pytest.fixture
async def world(machine):
    async with emulated_cloud(machine) as world:
        yield world


def texts(logs):
    return [line["text"] for line in logs if line["event"] == "leftovers.found"]


async def restart(world, folder, until):
    """Start terwayd anew; return what was told of leftovers once `until` holds of that."""
    with capture_logs() as logs:
        async with in_process_terwayd(world, folder):

            async def is_told():
                return until(" ".join(texts(logs)))

            await eventually(is_told)
    return texts(logs)


async def test_filters_of_upstream_are_removed_from_an_eni_and_nobody_elses(
    world, machine, tmp_path
):
    """Bug class 27: leaked rules; 20: an upgrade finds what the version before has left."""
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path) as daemon:
        assert (await daemon.node.run("ADD", CNI_NETNS=pod)).exit_code == 0
    match = "u32 match ip src 10.0.0.1/32 flowid 1:1"
    sh(f"""
        tc qdisc add dev eth1 clsact 2>/dev/null || true
        tc filter add dev eth1 egress prio 50001 protocol ip {match}
        tc filter add dev eth1 egress prio 77 protocol ip {match}
        tc filter add dev eth1 ingress prio 20000 protocol ip {match}
    """)

    (text,) = await restart(world, tmp_path, lambda said: "50001" in said)

    assert "20000" in text
    assert "50001" not in sh("tc filter show dev eth1 egress")
    assert "20000" not in sh("tc filter show dev eth1 ingress")
    assert "pref 77" in sh("tc filter show dev eth1 egress")


async def test_a_journal_of_upstream_with_pods_in_it_is_told_and_kept(world, tmp_path):
    state = tmp_path / "var/lib/cni/terway"
    state.mkdir(parents=True)
    (state / "ResRelation.db").write_bytes(bbolt_file(b"relation", RELATION))

    (text,) = await restart(world, tmp_path, lambda said: "ResRelation" in said)

    assert "2 pods (default/old-0, default/old-1)" in text
    assert "drain the node" in text
    assert (state / "ResRelation.db").exists()


async def test_a_socket_that_nobody_listens_on_goes_and_one_that_lives_stays(world, tmp_path):
    run = tmp_path / "var/run/eni"
    run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run / "eni.socket"))
    (run / "terway_cni.lock").touch()

    await restart(world, tmp_path, lambda said: "nobody listens" in said)

    assert not (run / "eni.socket").exists()
    assert not (run / "terway_cni.lock").exists()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(run / "eni.socket"))
        living.listen()
        async with in_process_terwayd(world, tmp_path) as daemon:
            await daemon.terwayd.reconciled.wait()
            await asyncio.sleep(0.1)
        assert (run / "eni.socket").exists()


async def test_a_living_pod_of_calico_is_told_and_keeps_its_packets(world, machine, tmp_path):
    other = machine.pod()
    name = other.rpartition("/")[2]
    sh(f"""
        ip link add cali0123456789a type veth peer name eth0 netns {name}
        ip link set cali0123456789a up
        ip address add 169.254.1.1/32 dev cali0123456789a
        ip route add 10.244.0.5/32 dev cali0123456789a
        ip -n {name} link set eth0 up
        ip -n {name} address add 10.244.0.5/32 dev eth0
        ip -n {name} route add default via 169.254.1.1 dev eth0 onlink
    """)

    told = await restart(world, tmp_path, lambda said: "cali0123456789a" in said)

    assert "left alone" in told[0]
    assert "10.244.0.5 dev cali0123456789a" in sh("ip route")
    sh("ping -n -c1 -w20 10.244.0.5")
