"""Which pods get an address of an ENI for RDMA?"""

from __future__ import annotations

import pytest

from terway.agent.interfaces import ERDMA_RESOURCE, InterfacePolicy, interfaces_of
from terway.cni.call import Add
from terway.cni.conf import parse_conf
from terway.kube.types import Container, Pod, PodSpec, Resources
from tests.support.pool_world import owner

CONF = b'{"cniVersion":"1.1.0","name":"terway","type":"terway"}'


def placed(limits, *, has_erdma: bool):
    containers = (Container(name="sidecar"), Container(resources=Resources(limits=limits)))
    pod = Pod(spec=PodSpec(containers=containers))
    call = Add(conf=parse_conf(CONF), key=owner(1), netns="/n", pod=None)
    (one,) = interfaces_of(call, pod, InterfacePolicy(has_erdma=has_erdma))
    return one.spec.placement.is_erdma


@pytest.mark.parametrize(
    ("limits", "has_erdma", "expected"),
    [
        ({ERDMA_RESOURCE: "1"}, True, True),
        ({ERDMA_RESOURCE: 1}, True, True),
        ({ERDMA_RESOURCE: "0"}, True, False),
        ({"cpu": "1"}, True, False),
        ({ERDMA_RESOURCE: "1"}, False, False),  # another controller's, here
    ],
)
def test_a_pod_that_is_limited_to_some_rdma_asks_for_it_where_the_node_has_it(
    limits, has_erdma, expected
):
    assert placed(limits, has_erdma=has_erdma) is expected
