"""A hostPort that no plugin of the chain maps is told at the pod, and never held against it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from terway.agent.host_ports import REASON, HostPorts, unmapped_ports
from terway.agent.pods import IGNORE_LABEL
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey
from terway.kube.types import Container, ContainerPort, ObjectMeta, Pod, PodSpec

KEY = ObjectKey(namespace="default", name="web")


def pod(*ports, labels=None, **spec):
    containers = [Container(ports=(ContainerPort(host_port=one),)) for one in ports]
    meta = ObjectMeta(name="web", namespace="default", uid="u", labels=labels or {})
    return Pod(metadata=meta, spec=PodSpec(containers=tuple(containers), **spec))


class Told(list):
    def tell_pod(self, pod, reason, message):
        self.append((pod.name, pod.uid, reason, message))


async def looked_at(*changes):
    async def stream():
        for old, new in changes:
            yield Change(key=KEY, old=old, new=new)

    @contextmanager
    def opened():
        yield stream()

    told = Told()
    await HostPorts(changes=opened, teller=told).run()
    return told


async def test_a_port_that_nobody_maps_is_told_once_with_the_remedy():
    web = pod(8443, 0, 8080)

    [(name, uid, reason, message)] = await looked_at((None, web), (web, web), (web, None))

    assert (name, uid, reason) == ("web", "u", REASON)
    assert message.startswith("hostPort 8080, 8443 has no effect: ")
    assert "chain portmap" in message


@pytest.mark.parametrize(
    "one",
    [pod(0), pod(), pod(80, host_network=True), pod(80, labels={IGNORE_LABEL: "true"})],
    ids=["no hostPort", "no port", "the host's network", "another plugin's"],
)
def test_pods_that_ask_nothing_of_us_hear_nothing(one):
    assert unmapped_ports(one) == ()
