"""Upstream's dashboards find their figures: of pools, of attachments, of waits for calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from terway.controlplane.budget import CallBudget
from terway.controlplane.counted import Counted, eni_tasks
from terway.controlplane.metrics import CallMetrics
from terway.kube.crds import POOL_NODES, NetworkInterface, NetworkInterfaceStatus
from terway.kube.resource import NODES
from terway.lab.faults.virtual import run_virtually
from terway.model.exposition import Metric
from tests.support.centralized import Agent, Cluster, add, control_plane, delete, eventually
from tests.support.virtual_time import virtual_clock


def page(metrics: Iterable[Metric]) -> str:
    return "\n".join(line for metric in metrics for line in metric.lines())


def make(tmp_path, **conf):
    cluster = Cluster()
    instance = cluster.add_node(instance_id=cluster.cloud.at.instance_id)
    return cluster, Agent(cluster, tmp_path, instance, **conf)


def test_a_nodes_pool_is_counted_by_what_it_asked_and_what_it_gave_back(tmp_path):
    async def main():
        cluster, agent = make(tmp_path, max_pool_size=0)
        counted = Counted()
        async with control_plane(cluster, counted=counted), agent.running() as service:
            pods = cluster.schedule("node-1", 2)
            await asyncio.gather(*(add(service, pod) for pod in pods))
            before = page(counted.metrics())
            for pod in pods:
                cluster.remove(pod)
                await delete(service, pod)
            await eventually(lambda: "gc_count_total{" in page(counted.metrics()), within_s=900)

        assert 'sync_openapi_count_total{node="node-1"}' in before
        assert 'latency_ms_count{method="reconcile",node="node-1"}' in before
        attached = 'duration_seconds_count{result="success",eni_type="Secondary"} 1'
        assert attached in before
        assert "gc_count_total{" not in before

    run_virtually(main())


def test_the_figures_of_a_node_go_with_it(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        counted = Counted()
        async with control_plane(cluster, counted=counted):
            async with agent.running() as service:
                (pod,) = cluster.schedule("node-1", 1)
                await add(service, pod)
            cluster.remove(pod)
            cluster.release_instance(agent.instance_id)
            cluster.delete(NODES, "node-1")
            await eventually(lambda: cluster.find(POOL_NODES, "node-1") is None, within_s=300)
            await eventually(lambda: "node-1" not in page(counted.metrics()))

    run_virtually(main())


def test_enis_that_are_on_their_way_are_tasks(tmp_path):
    async def main():
        cluster, agent = make(tmp_path)
        async with control_plane(cluster) as pools, agent.running() as service:
            (pod,) = cluster.schedule("node-1", 1)

            def tasks(*phases: str) -> str:
                interfaces = (
                    NetworkInterface(status=NetworkInterfaceStatus(phase=one)) for one in phases
                )
                return page(eni_tasks((one.pool for one in pools.pools.values()), interfaces))

            await eventually(lambda: 'size{status="Running"} 1.0' in tasks("Bind"))
            await add(service, pod)
            await eventually(lambda: 'size{status="Running"} 0.0' in tasks())
            assert 'size{status="Running"} 2.0' in tasks("Binding", "Binding", "Unbind")
            assert 'size{status="Pending"} 0.0' in tasks()

    run_virtually(main())


def test_waits_for_a_turn_to_call_are_counted_by_call():
    async def main():
        budget, calls = CallBudget({"Slow": 60.0}, share=1.0, clock=virtual_clock), CallMetrics()
        budget.on_turn = calls.observe_turn
        for _ in range(61):
            await budget.take("Slow", who="node-1")
        return page(calls.metrics())

    found = run_virtually(main())
    assert 'rate_limiter_latency_bucket{api="Slow",le="0.001"} 60' in found
    assert 'rate_limiter_latency_bucket{api="Slow",le="2.0"} 61' in found
