"""What pods send, held by departure times: by real traffic, in a kernel with fq."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from terway.datapath.diff import diff
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.netlink import link
from terway.linux.session import open_session
from terway.model.network import Netns
from terway.model.traffic import Pacing, TokenBucket, TrafficObject
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.rate import both_bytes_s, held_bytes_s, rate_bytes_s

pytestmark = [pytest.mark.root, pytest.mark.guest]

FAR = {"eth0": ("198.51.100.1", "2001:db8::1"), "veth1": ("203.0.113.1", "2001:db8:1::1")}
_MBIT = 125_000  # bytes per second


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with two links to one far end."""

    kernel: Kernel
    inside: ScratchNetns
    far: ScratchNetns

    def read(self) -> list[TrafficObject]:
        """Return the limits of its links, as the kernel has them."""
        with open_session() as session:
            pod = session.namespace(Netns(self.inside.path))
            links = pod.sock.query(link.all_links())
            return [limit for one in links for limit in pod.traffic.read_limits(pod.sock, one)]

    async def hold(self, *limits: TrafficObject) -> None:
        """Let these be its limits, and no others."""
        changes = diff(limits, self.read(), netns=Netns(self.inside.path), is_owned=lambda _: True)
        await self.kernel.apply(changes.operations)
        assert [one.link for one in self.read()] == [one.link for one in limits]


def paced(mbit: int, name: str = "eth0") -> Pacing:
    return Pacing(link=name, rate_bytes_s=mbit * _MBIT)


def queued(mbit: int) -> TokenBucket:
    rate = mbit * _MBIT
    return TokenBucket(link="eth0", rate_bytes_s=rate, burst_bytes=10_500, limit_bytes=rate // 40)


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    with ExitStack() as stack:
        inside, far = (stack.enter_context(scratch_netns(name)) for name in ("pod", "far"))
        for number, (name, addresses) in enumerate(FAR.items(), 1):
            inside.run(f"ip link add {name} type veth peer name {name} netns {far.path}")
            for netns, host, others in ((inside, 1, addresses), (far, 2, ())):
                netns.run(
                    f"ip link set {name} up; ip address add 10.0.{number}.{host}/24 dev {name}"
                )
                netns.run(f"ip address add fd00:{number}::{host}/64 dev {name} nodad")
                for one in others:
                    via = f"fd00:{number}::2" if ":" in one else f"10.0.{number}.2"
                    netns.run(f"ip route add {one} via {via}")
                    far.run(f"ip address add {one} dev lo")
        async with open_kernel() as kernel:
            yield Pod(kernel, inside, far)


# The two in one family only: it is the length of a frame that counts, and a guest is slow.
@pytest.mark.parametrize(("mbit", "family"), [(1, 0), (20, 1), (100, 0)])
async def test_what_a_pod_sends_is_held_within_a_tenth(pod, mbit, family):
    await pod.hold(paced(mbit))
    assert pod.read() == [paced(mbit)]

    ends = (pod.inside, pod.far, FAR["eth0"][family])
    sent = await held_bytes_s(*ends, enough=0.9 * mbit * _MBIT)

    assert sent == pytest.approx(mbit * _MBIT, rel=0.1)


async def test_all_links_of_a_pod_are_held_to_one_limit(pod):
    await pod.hold(paced(20), paced(20, "veth1"))

    both = await both_bytes_s(
        pod.inside,
        lambda: [rate_bytes_s(pod.inside, pod.far, FAR[name][0], seconds=5) for name in FAR],
        links=tuple(FAR),
        enough=0.9 * 20 * _MBIT,
    )

    assert both.is_held_to(20 * _MBIT), both


async def test_a_limit_that_changes_or_goes_cuts_no_connection(pod):
    await pod.hold(paced(40))
    flow = asyncio.create_task(rate_bytes_s(pod.inside, pod.far, FAR["eth0"][0], seconds=4))
    await asyncio.to_thread(pod.inside.run, "until ss -tn | grep -q ESTAB; do sleep 0.02; done")

    for limits in ([paced(80)], [queued(20)], [paced(60)], []):
        await pod.hold(*limits)

    assert await flow > 0  # iperf3 came to its end, on the connections it had
    assert not {"fq", "tbf"} & set(pod.inside.run("tc qdisc").split())
    assert "pacing" not in pod.inside.run("tc filter show dev eth0 egress")


@pytest.mark.parametrize("harm", ["tc qdisc del dev eth0 root", "tc filter del dev eth0 egress"])
async def test_what_somebody_takes_from_a_limit_is_seen_and_mended(pod, harm):
    await pod.hold(paced(20))
    pod.inside.run(harm)

    assert pod.read() == []
    await pod.hold(paced(20))
