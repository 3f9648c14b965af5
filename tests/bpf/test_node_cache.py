"""The node's own DNS cache has a link-local address: it is the node, to policies as well."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network

import pytest

from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from terway.model.policy_maps import Lanes
from tests.bpf.test_denied_told import NOTHING, deny
from tests.bpf.test_services import CLIENT, Services, fresh
from tests.support.datapath_program import open_datapath_program
from tests.support.service_tables import End
from tests.support.whole_packets import UDP, Whole

pytestmark = pytest.mark.root

CACHE = "169.254.20.10"
ASKED = Whole(source=End(CLIENT[4], 40000), destination=End(CACHE, 53), protocol=UDP)


@pytest.fixture(scope="module")
def node() -> Iterator[Services]:
    with open_datapath_program() as bench:
        bench.put_host_stack(ip_network(f"{CACHE}/32"))
        yield fresh(bench)


@pytest.mark.parametrize("is_inside", [False, True], ids=["veth", "ipvlan"])
def test_network_policies_never_shut_it_and_policies_of_the_cluster_do(node, is_inside):
    if is_inside:
        child = Endpoint(
            number=EndpointNumber(1),
            kind=EndpointKind.IPVLAN,
            addresses=IPPair(v4=IPv4Address(CLIENT[4])),
            pod_mac=MacAddress("02:00:00:00:00:01"),
        )
        node.bench.put_endpoint(child, link=0)

    def reasons() -> list[Loss]:
        where = {"endpoint": 1} if is_inside else {"link": 1}
        program = "out_of_pod" if is_inside else "from_pod"
        return [one for _, one in node.bench.run(program, ASKED.frame(), **where).losses]

    deny(node, Lanes(egress=NOTHING), at=1, since=3)
    assert reasons() == []
    deny(node, Lanes(egress=NOTHING, own_node=NOTHING), at=1, since=4)
    assert reasons() == [Loss.POLICY_EGRESS]
