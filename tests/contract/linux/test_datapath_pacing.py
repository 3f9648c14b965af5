"""Departure times of pods whose packets go past the node's stack: fq in the pod holds them all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni
from terway.datapath.node import desired_node
from terway.datapath.plan import plan_attach, plan_node
from terway.datapath.veth import desired_attachment
from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel
from terway.model.interface import Bandwidth
from terway.model.network import Sysctl
from tests.contract.linux.test_datapath_priorities import GATEWAYS
from tests.support.attachments import NODE_FACTS, attachment
from tests.support.netns import NodeWithENI, ScratchNetns, scratch_netns
from tests.support.rate import held_bytes_s

pytestmark = [pytest.mark.root, pytest.mark.guest]

FACTS = replace(NODE_FACTS, has_datapath=True, has_pacing=True)
FAR = ("198.51.100.1", "2001:db8::1")
_SMALL = {"flows": 1024, "choices": 1024}
_HELD = 1_000_000  # bytes per second


@dataclass(frozen=True, slots=True)
class Site:
    """A node with the data path, to which pods are added."""

    kernel: Kernel
    eni: ENILink

    async def add(self, number: int, space: ScratchNetns, bandwidth: Bandwidth) -> None:
        made = attachment(number, netns=space.path)
        wanted = replace(made, spec=replace(made.spec, bandwidth=bandwidth))
        desired = desired_attachment(wanted, eni=self.eni, node=FACTS)
        actual = await self.kernel.read_attachment(desired)
        await self.kernel.apply(plan_attach(desired, actual))


@pytest.fixture
async def site(kernel: Kernel, tmp_path: Path) -> AsyncIterator[Site]:
    path = await kernel.open_datapath(Pins(Path("/sys/fs/bpf") / tmp_path.name), _SMALL)
    eth1 = next(one for one in await kernel.links() if one.name == "eth1")
    assert eth1.mac is not None
    eni = ENILink(name="eth1", ifindex=eth1.ifindex, mac=eth1.mac, gateways=GATEWAYS)
    host = (*desired_node(FACTS), *desired_eni(eni, FACTS))
    actual = await kernel.read_node(one for one in host if isinstance(one, Sysctl))
    await kernel.apply(plan_node(host, (), actual))
    path.know_node([*FACTS.addresses])
    yield Site(kernel, eni)
    path.object.close()


@pytest.mark.parametrize("far", FAR)
async def test_what_leaves_the_node_is_held(world: NodeWithENI, site: Site, pod, far):
    await site.add(1, pod, Bandwidth(egress=_HELD))

    found = await held_bytes_s(pod, world.gateway, far, enough=0.9 * _HELD)

    assert "qdisc fq" in pod.run("tc qdisc show dev eth0")
    assert found == pytest.approx(_HELD, rel=0.1)


async def test_what_goes_to_a_pod_of_the_same_node_is_held(site: Site, pod):
    with scratch_netns("near") as near:
        await site.add(1, pod, Bandwidth(egress=_HELD))
        await site.add(2, near, Bandwidth())

        address = attachment(2).lease.addresses.v4
        found = await held_bytes_s(pod, near, address, enough=0.9 * _HELD)

    assert found == pytest.approx(_HELD, rel=0.1)
