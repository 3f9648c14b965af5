"""Agent, control plane, API server and cloud together, on virtual time."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from ipaddress import IPv4Network

import pytest

from terway.agent.trunk_note import trunk_of
from terway.controlplane.budget import CallBudget
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.readings import SharedReadings
from terway.controlplane.pools.settings import Degradation
from terway.kube.crds import POOL_NODES
from terway.kube.resource import NODES
from terway.lab.cloud.provision import create_vswitch
from terway.lab.faults.virtual import run_virtually
from terway.model.errors import CapacityError
from terway.model.ids import ClientToken
from tests.support.centralized import (
    CLUSTER,
    Agent,
    Cluster,
    add,
    control_plane,
    delete,
    eventually,
    wall_clock,
)
from tests.support.cloud_world import ZONE
from tests.support.virtual_time import virtual_clock


def make(tmp_path, **conf):
    cluster = Cluster()
    instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
    return cluster, Agent(cluster, tmp_path, instance, **conf)


def in_the_cloud(cluster) -> set[str]:
    return {ip for ips in cluster.cloud.secondary_enis().values() for ip in ips}


def test_pods_get_addresses_that_the_control_plane_asked_for(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 3)
            found = await asyncio.gather(*(add(service, pod) for pod in pods))
        given = {str(one.lease.addresses.v4) for one in found}
        assert len(given) == 3
        assert given <= in_the_cloud(cluster)

    run_virtually(main())


def test_an_address_is_on_its_way_before_the_kubelet_asks(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 4)
            await eventually(lambda: service.status().free + service.status().cooling >= 4)
            begun = asyncio.get_running_loop().time()
            await asyncio.gather(*(add(service, pod) for pod in pods))
            assert asyncio.get_running_loop().time() - begun < 0.05
        assert len(in_the_cloud(cluster)) == 4

    run_virtually(main())


def test_pods_that_need_no_address_of_the_pool_are_not_counted(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0)
        async with control_plane(cluster), agent.running():
            cluster.schedule("node-1", 3, **{"k8s.aliyun.com/pod-eni": "true"})
            cluster.schedule("node-2", 3)
            await asyncio.sleep(60)
        assert in_the_cloud(cluster) == set()

    run_virtually(main())


def test_demand_is_counted_once(tmp_path):
    """Three scheduled pods that wait as well, five to be free: eight, not eleven."""

    async def main():
        cluster, agent = make(tmp_path, min_pool_size=5, max_pool_size=5)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 3)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            await asyncio.sleep(60)
        assert len(in_the_cloud(cluster)) == 8

    run_virtually(main())


def test_what_pods_leave_goes_back_after_its_rest_and_the_handshake(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, max_pool_size=2)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 12)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            for pod in pods[1:]:
                cluster.remove(pod)
                await delete(service, pod)
            await eventually(lambda: len(in_the_cloud(cluster)) == 3, within_s=900)
            kept = service.attachments()[0].lease.addresses.v4
            assert str(kept) in in_the_cloud(cluster)
            await eventually(lambda: cluster.addresses(status="Deleting") == set())
            assert cluster.addresses() == in_the_cloud(cluster)

    run_virtually(main())


def test_a_node_keeps_serving_while_control_plane_and_api_server_are_away(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, min_pool_size=5, max_pool_size=5)
        kube = cluster.kube()
        async with agent.running_later(kube=kube) as service_of:
            async with control_plane(cluster):
                service = await service_of()
                await eventually(lambda: service.status().free >= 5)
            kube.is_away = True
            kube.cut()
            pods = cluster.schedule("node-1", 5)
            await asyncio.gather(*(add(service, pod) for pod in pods))
        async with agent.running(kube=cluster.kube()) as service:
            assert len(service.attachments()) == 5

    run_virtually(main())


def test_a_restarted_agent_keeps_what_pods_have_and_gives_the_rest(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster):
            async with agent.running() as service:
                (first,) = cluster.schedule("node-1")
                one = await add(service, first)
            async with agent.running() as service:
                assert await add(service, first) == one
                pods = cluster.schedule("node-1", 10)
                more = await asyncio.gather(*(add(service, pod) for pod in pods))
        given = [str(each.lease.addresses.v4) for each in (one, *more)]
        assert len(set(given)) == 11

    run_virtually(main())


@pytest.mark.parametrize("tenths", range(0, 60, 3))
def test_a_control_plane_that_is_killed_at_any_moment_leaks_nothing(tmp_path, tenths):
    """Bug classes 2, 7 and 13: its successor repeats what was begun, with the same tokens."""

    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0)
        async with agent.running_later() as service_of:
            async with control_plane(cluster, seed="1"):
                service = await service_of()
                pods = cluster.schedule("node-1", 20)
                adding = [asyncio.ensure_future(add(service, pod)) for pod in pods]
                await asyncio.sleep(tenths / 10)
            async with control_plane(cluster, seed="2"):
                found = await asyncio.gather(*adding)
                await asyncio.sleep(300)
                given = {str(one.lease.addresses.v4) for one in found}
                assert len(given) == 20
                assert in_the_cloud(cluster) == given == cluster.addresses()

    run_virtually(main())


def test_a_control_plane_that_begins_anew_with_a_node_uses_no_token_twice(tmp_path):
    """Bug class 13: the cloud would answer with what it gave then, and has taken back since."""
    used: Counter[str] = Counter()

    def note(call):
        if call.action in ("CreateNetworkInterface", "AssignPrivateIpAddresses"):
            used[call.parameters["ClientToken"]] += 1

    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0)
        cluster.cloud.before_call = note
        kube = cluster.kube()
        async with control_plane(cluster, kube=kube), agent.running() as service:
            for _ in range(4):
                await add(service, *cluster.schedule("node-1"))
                # its own status is now one that it does not know: it begins anew with that
                kube.lost = 1
                await asyncio.sleep(10)

    run_virtually(main())
    assert len(used) == 4
    assert set(used.values()) == {1}


def test_a_node_of_its_own_supply_is_taken_over_with_its_pods(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, max_pool_size=2, security_groups=[])
        pods = cluster.schedule("node-1", 5)
        async with agent.running(is_supplied=False) as service:
            before = await asyncio.gather(*(add(service, pod) for pod in pods))
        async with control_plane(cluster), agent.running() as service:
            assert await asyncio.gather(*(add(service, pod) for pod in pods)) == before
            more = cluster.schedule("node-1", 12)
            await asyncio.gather(*(add(service, pod) for pod in more))
            await asyncio.sleep(600)
            given = {str(one.lease.addresses.v4) for one in service.attachments()}
            assert len(given) == 17
            assert given <= in_the_cloud(cluster) == cluster.addresses()

    run_virtually(main())


def test_a_node_that_is_gone_leaves_nothing_behind(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster):
            async with agent.running() as service:
                pods = cluster.schedule("node-1", 3)
                await asyncio.gather(*(add(service, pod) for pod in pods))
            for pod in pods:
                cluster.remove(pod)
            cluster.release_instance(agent.instance_id)
            cluster.delete(NODES, "node-1")
            await eventually(lambda: cluster.find(POOL_NODES, "node-1") is None, within_s=300)
            assert in_the_cloud(cluster) == set()

    run_virtually(main())


def test_a_deleted_node_whose_instance_lives_keeps_its_enis(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster):
            async with agent.running() as service:
                pods = cluster.schedule("node-1", 3)
                await asyncio.gather(*(add(service, pod) for pod in pods))
            before = in_the_cloud(cluster)
            cluster.delete(NODES, "node-1")
            await asyncio.sleep(600)
            assert in_the_cloud(cluster) == before

    run_virtually(main())


def test_the_trunk_is_the_first_eni_and_serves_ordinary_pods(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, enable_eni_trunking=True, max_pool_size=0)
        async with control_plane(cluster), agent.running() as service:
            await eventually(lambda: "aliyun/member-eni" in cluster.node_capacity())
            (pod,) = cluster.schedule("node-1")
            attachment = await add(service, pod)
        (shown,) = cluster.status()["networkInterfaces"].values()
        assert shown["networkInterfaceType"] == "Trunk"
        assert attachment.lease.eni_id == shown["id"]
        annotations = cluster.find(NODES, "node-1")["metadata"]["annotations"]
        assert annotations["k8s.aliyun.com/trunk-on"] == shown["id"]

    run_virtually(main())


def test_with_degradation_l0_no_call_is_made_and_the_node_serves_what_it_has(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, min_pool_size=3, max_pool_size=3)
        async with agent.running_later() as service_of:
            async with control_plane(cluster):
                service = await service_of()
                await eventually(lambda: service.status().free >= 3)
            async with control_plane(cluster, seed="2", degradation=Degradation(level="l0")):
                await asyncio.sleep(30)
                pods = cluster.schedule("node-1", 3)
                await asyncio.gather(*(add(service, pod) for pod in pods))
                await asyncio.sleep(120)
        assert len(in_the_cloud(cluster)) == 3

    run_virtually(main())


def test_with_degradation_l1_pods_get_addresses_and_none_is_given_back(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0)
        level = Degradation(level="l1")
        async with control_plane(cluster, degradation=level), agent.running() as service:
            pods = cluster.schedule("node-1", 8)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            for pod in pods:
                cluster.remove(pod)
                await delete(service, pod)
            await asyncio.sleep(900)
            assert len(in_the_cloud(cluster)) == 8

    run_virtually(main())


def test_the_resource_says_when_the_cloud_was_last_compared_with_it(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster), agent.running() as service:
            (pod,) = cluster.schedule("node-1", 1)
            await add(service, pod)
        status = cluster.status()
        assert status["lastSyncOpenAPITime"] <= status["lastModifiedTime"]

    run_virtually(main())


def test_a_node_of_its_own_supply_makes_its_own_trunk(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, enable_eni_trunking=True, max_pool_size=0)
        async with agent.running(is_supplied=False) as service:
            await eventually(lambda: trunk_of(service.pool))
            (pod,) = cluster.schedule("node-1")
            attachment = await add(service, pod)
            assert attachment.lease.eni_id == trunk_of(service.pool)
            await asyncio.sleep(60)
            assert len(service.enis()) == 1

    run_virtually(main())


def test_prefixes_are_supplied_and_taken_back_as_addresses_are(tmp_path):
    async def main():
        conf = {"enable_ip_prefix": True, "ipv4_prefix_count": 2}
        cluster, agent = make(tmp_path, **conf)
        async with control_plane(cluster):
            async with agent.running() as service:
                pods = cluster.schedule("node-1", 20)
                found = await asyncio.gather(*(add(service, pod) for pod in pods))
                assert len({one.lease.addresses.v4 for one in found}) == 20
                assert len(prefixes(cluster)) == 2
            agent.conf["ipv4_prefix_count"] = 1
            async with agent.running() as service:
                await asyncio.sleep(120)
                assert len(prefixes(cluster)) == 2
                for pod in pods:
                    cluster.remove(pod)
                    await delete(service, pod)
                await eventually(lambda: len(prefixes(cluster)) == 1, within_s=600)

    run_virtually(main())


def prefixes(cluster) -> list[str]:
    enis = cluster.cloud.cloud.world.state.enis.values()
    return [str(prefix) for eni in enis for prefix in eni.ipv4_prefixes]


def test_many_nodes_that_join_at_once_are_read_together(tmp_path):
    """Bug class 8: one reading of the VPC, not one a node."""

    async def main():
        cluster = Cluster()
        calls: Counter[str] = Counter()
        cluster.cloud.before_call = lambda call: calls.update([call.action])
        agents = [Agent(cluster, tmp_path, cluster.add_node(f"n{i}"), f"n{i}") for i in range(12)]
        async with control_plane(cluster), AsyncExitStack() as stack:
            services = [await stack.enter_async_context(agent.running()) for agent in agents]
            pods = [cluster.schedule(agent.name)[0] for agent in agents]
            await asyncio.gather(*map(add, services, pods))
        assert calls["DescribeInstanceTypes"] == 1
        assert calls["DescribeNetworkInterfaces"] < 30
        assert calls["CreateNetworkInterface"] == 12

    run_virtually(main())


def test_nodes_that_choose_one_vswitch_do_not_ask_for_more_than_it_has(tmp_path):
    """Bug class 9: what one has chosen is not there for the others, before the cloud says so."""

    async def main():
        cluster = Cluster(pod_cidr="192.168.32.0/27")
        at = cluster.cloud.at
        large = create_vswitch(
            cluster.cloud.cloud,
            at.vpc_id,
            IPv4Network("192.168.64.0/24"),
            zone_id=ZONE,
            ipv6_number=2,
        )
        conf = {
            "vswitches": {ZONE: [at.pod_vswitch, large]},
            "vswitch_selection_policy": "ordered",
            "max_pool_size": 0,
        }
        agents = [
            Agent(cluster, tmp_path, cluster.add_node(f"n{i}"), f"n{i}", **conf) for i in range(8)
        ]
        async with control_plane(cluster), AsyncExitStack() as stack:
            services = [await stack.enter_async_context(agent.running()) for agent in agents]
            nodes = zip(agents, services, strict=True)
            pods = [(its, pod) for one, its in nodes for pod in cluster.schedule(one.name, 6)]
            found = await asyncio.gather(*(add(service, pod) for service, pod in pods))
        refused = [one.code for one in cluster.cloud.cloud.calls.all if one.code]
        rooms = Counter(one.lease.addresses.v4 in IPv4Network("192.168.32.0/27") for one in found)
        assert refused == []
        assert rooms[True] > 20  # what it has but for what the cloud keeps: it was used up

    run_virtually(main())


def test_an_eni_of_nobody_is_collected_and_one_of_another_cluster_is_not(tmp_path):
    """Bug class 2: what a crash left, whichever part made it."""

    async def main():
        cluster, _ = make(tmp_path)
        at, client = cluster.cloud.at, cluster.client
        budget = CallBudget(clock=virtual_clock)
        readings = SharedReadings(client, budget, clock=virtual_clock)

        async def create(token: str, *tags: tuple[str, str]) -> str:
            eni = await client.create_eni(
                vswitch_id=at.pod_vswitch,
                security_group_ids=[at.group],
                ipv4_count=1,
                tags=tags,
                token=ClientToken(token),
            )
            return str(eni.id)

        ours, theirs = ("ack.aliyun.com", CLUSTER), ("ack.aliyun.com", "other")
        of_pool, of_pod = ("creator", "terway"), ("creator", "terway-controller")
        lost = {await create("1", of_pool, ours), await create("2", of_pod, ours)}
        named = await create("3", of_pod, ours)
        kept = {named, await create("4", of_pod, theirs), await create("5", of_pool)}
        gone = Gone(
            cluster.kube(),
            client,
            readings,
            budget,
            cluster_id=CLUSTER,
            owned=lambda: (named,),
            instances=lambda: (),
            wall_clock=wall_clock,
        )
        assert await gone.collect(await readings.read_all()) == 0  # they are young
        await asyncio.sleep(700)
        assert await gone.collect(await readings.read_all()) == 0  # seen once
        assert await gone.collect(await readings.read_all()) == 2
        await asyncio.sleep(5)
        left = {eni.id for eni in (await readings.read_all()).loose}
        assert left == kept
        assert not left & lost

    run_virtually(main())


def test_what_an_agent_gives_while_it_is_wanted_back_stays_with_its_pod(tmp_path):
    """Bug class 4: the agent, whose watch lags, hears of the wish after it gave the address."""

    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0, ip_pool_sync_period="20s")
        kube = cluster.kube()
        async with control_plane(cluster), agent.running(kube=kube) as service:
            pods = cluster.schedule("node-1", 8)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            for pod in pods[1:]:
                cluster.remove(pod)
                await delete(service, pod)
            await asyncio.sleep(40)  # they have rested
            kube.lag_s = 5.0
            await eventually(lambda: cluster.addresses(status="Deleting"), within_s=300)
            guests = cluster.schedule("elsewhere", 3)  # the scheduler knows nothing of them
            found = await asyncio.gather(*(add(service, pod) for pod in guests))
            given = {str(one.lease.addresses.v4) for one in found}
            assert given & cluster.addresses(status="Deleting")
            await asyncio.sleep(300)
            assert given < in_the_cloud(cluster) == cluster.addresses()
            assert len(in_the_cloud(cluster)) == 4

    run_virtually(main())


def test_who_cannot_be_served_is_told_why(tmp_path):
    """Bug class 9: the vSwitch has no address left; those that there are were given."""

    async def main():
        cluster = Cluster(pod_cidr="192.168.32.0/28")
        instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
        agent = Agent(cluster, tmp_path, instance, max_pool_size=0)
        async with control_plane(cluster), agent.running() as service:
            pods = cluster.schedule("node-1", 20)
            adding = (add(service, pod) for pod in pods)
            found = await asyncio.gather(*adding, return_exceptions=True)
        refused = [one for one in found if isinstance(one, CapacityError)]
        assert len(in_the_cloud(cluster)) == len(found) - len(refused) > 5
        assert all("vsw-" in str(one) for one in refused)

    run_virtually(main())
