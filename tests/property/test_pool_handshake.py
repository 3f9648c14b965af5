"""Control plane and agent never disagree about who has an address, whatever gets lost or is old.

Bug classes 4, 7 and 14: pods come and go, processes die at any moment, an old leader goes on beside
the new one, watches lag, lists are stale, answers of writes are lost, the API server is away.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from terway.kube.crds import NETWORK_INTERFACES, NODE_RUNTIMES
from terway.lab.faults.virtual import run_virtually
from tests.support.centralized import Agent, Cluster, add, control_plane, delete

TAKING = ("UnassignPrivateIpAddresses", "DetachNetworkInterface", "DeleteNetworkInterface")
moments = st.floats(0.0, 9.0)
happenings = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "come",
                "guest",
                "go",
                "go",
                "leader",
                "second",
                "restart",
                "away",
                "lag",
                "lose",
                "rest",
                "alone",
                "forget",
            ]
        ),
        moments,
        st.integers(1, 9),
    ),
    min_size=4,
    max_size=16,
)


class Story:
    """One cluster with one node, and everything that happens to it."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster()
        instance = self.cluster.add_node(instance_id=self.cluster.cloud.at.instance_id)
        self.agent = Agent(
            self.cluster, folder, instance, max_pool_size=1, ip_pool_sync_period="5s"
        )
        self.agent.conf |= {"ip_cooldown_period": "6s"}
        self.cluster.cloud.before_call = self.check
        self.wrong: list[str] = []
        self.kubes: list[Any] = []
        self.pods: list[Any] = []
        self.leaders: list[AsyncExitStack] = []
        self.life: Any = None
        self.service: Any = None
        self.adding: dict[str, asyncio.Task] = {}
        self.seeds = 0

    def check(self, call) -> None:
        """No address goes from its ENI while the agent's journal says that a pod has it."""
        if call.action not in TAKING:
            return
        held = [one.lease for one in self.agent.disk.attachments.values()]
        taken = {v for k, v in call.parameters.items() if k.startswith("PrivateIpAddress.")}
        eni = call.parameters.get("NetworkInterfaceId")
        for lease in held:
            if str(lease.addresses.v4) in taken:
                self.wrong.append(f"{lease.addresses.v4} was taken from its pod")
            if call.action != TAKING[0] and lease.eni_id == eni:
                self.wrong.append(f"{eni} was taken from under {lease.addresses.v4}")

    def kube(self):
        kube = self.cluster.kube()
        self.kubes.append(kube)
        return kube

    async def lead(self) -> None:
        """Begin another control plane."""
        self.seeds += 1
        stack = AsyncExitStack()
        await stack.enter_async_context(
            control_plane(self.cluster, seed=str(self.seeds), kube=self.kube())
        )
        self.leaders.append(stack)

    async def live(self) -> None:
        """Begin another life of the agent."""
        self.life = AsyncExitStack()
        running = self.agent.running(kube=self.kube(), **self.options())
        self.service = await self.life.enter_async_context(running)

    def options(self) -> dict[str, bool]:
        """Return how the agent is started."""
        return {}

    async def die(self) -> None:
        for pod in self.pods:
            await self.give_up(pod)
        await self.life.aclose()

    async def happen(self, what: str, count: int) -> None:
        match what:
            case "come":
                for pod in self.cluster.schedule("node-1", count):
                    self.pods.append(pod)
                    self.adding[pod.name] = asyncio.create_task(self.try_add(pod))
            case "guest":  # containers that only the agent sees; they come one by one
                for _ in range(count):
                    pod = self.cluster.schedule("elsewhere")[0]
                    self.pods.append(pod)
                    self.adding[pod.name] = asyncio.create_task(self.try_add(pod))
                    await asyncio.sleep(1.7)
            case "go":
                for pod in self.pods[:count]:
                    self.cluster.remove(pod)
                    await self.give_up(pod)
                    await delete(self.service, pod)
                del self.pods[:count]
            case "leader":
                await self.leaders.pop(0).aclose()
                await self.lead()
            case "second" if len(self.leaders) < 3:
                await self.lead()
            case "restart":
                await self.die()
                await self.live()
                for pod in self.pods:
                    self.adding[pod.name] = asyncio.create_task(self.try_add(pod))
            case "away":
                for kube in self.kubes:
                    kube.is_away = not kube.is_away and count > 4
            case "lag":
                for index, kube in enumerate(self.kubes):
                    kube.lag_s = float(count % 4) if (count + index) % 2 else 0.0
                    kube.stale_by = count * 3
            case "lose":
                for kube in self.kubes:
                    kube.lost = count % 3
            case "rest":
                await asyncio.sleep(10.0 * count)
            case "alone":  # pods that want whole ENIs come to the node
                for one in range(count % 4):
                    self.cluster.bind_whole(f"eni-alone-{one}")
            case "forget" if self.cluster.find(NODE_RUNTIMES, "node-1"):
                self.cluster.delete(NODE_RUNTIMES, "node-1")  # a person does
            case _:
                pass

    async def give_up(self, pod) -> None:
        """End the ADD of a pod, if it is still under way."""
        task = self.adding.pop(pod.name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def try_add(self, pod) -> None:
        try:
            given = str((await add(self.service, pod)).lease.addresses.v4)
            enis = self.cluster.cloud.secondary_enis().values()
            if not any(given in addresses for addresses in enis):
                self.wrong.append(f"{given} was given, and is on no ENI")
        except Exception:  # refused, or too late: the pod may come again
            return

    async def calm_down(self) -> None:
        """Let all be well again; then pods get what they want."""
        for kube in self.kubes:
            kube.is_away, kube.lag_s, kube.stale_by, kube.lost = False, 0.0, 0, 0
        while len(self.leaders) > 1:
            await self.leaders.pop(0).aclose()
        for found in self.cluster.objects(NETWORK_INTERFACES):
            self.cluster.delete(NETWORK_INTERFACES, found["metadata"]["name"])
        await asyncio.gather(*self.adding.values())
        await asyncio.sleep(200)
        for pod in self.pods:
            await add(self.service, pod)
        await asyncio.sleep(400)


async def tell(folder: Path, what) -> None:
    story = Story(folder)
    await story.lead()
    await story.live()
    for name, moment, count in what:
        if name == "restart" and any(kube.is_away for kube in story.kubes):
            continue  # a first start needs the API server
        await story.happen(name, count)
        await asyncio.sleep(moment)
    await story.calm_down()
    attachments = story.service.attachments()
    given = Counter(str(one.lease.addresses.v4) for one in attachments)
    there = {ip for ips in story.cluster.cloud.secondary_enis().values() for ip in ips}
    assert not story.wrong
    assert all(count == 1 for count in given.values())
    assert len(given) == len(story.pods)
    assert set(given) <= there
    assert there == story.cluster.addresses()
    assert len(there) <= len(given) + 2, "what nobody needs goes back"
    await story.die()
    for leader in story.leaders:
        await leader.aclose()


@settings(
    max_examples=25, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck)
)
@given(happenings)
def test_nothing_that_a_pod_has_is_taken_and_nothing_is_given_twice(what):
    with tempfile.TemporaryDirectory() as folder:
        run_virtually(tell(Path(folder), what))
