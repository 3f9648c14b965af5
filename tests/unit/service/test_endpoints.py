"""Which endpoints a node may choose from: the cases of kube-proxy's topology.go."""

from __future__ import annotations

from typing import Any

import pytest

from terway.service.endpoints import Topology, Use, choose_endpoints, count_local_ready, use_of
from terway.service.values import Endpoint, Here

HERE = Here(node="node-1", zone="zone-a")


def at(node: int, zone: str = "", **given: Any) -> Endpoint:
    return Endpoint(address=bytes((10, 0, 0, node)), node=f"node-{node}", zone=zone, **given)


def going(node: int, *, is_serving: bool = True) -> Endpoint:
    return at(node, is_ready=False, is_serving=is_serving, is_terminating=True)


UNREADY: dict[str, Any] = {"is_ready": False, "is_serving": False}
ZONE_A: dict[str, Any] = {"for_zones": ("zone-a",)}
ZONE_B: dict[str, Any] = {"for_zones": ("zone-b",)}

CASES = {
    "all ready": ([at(1), at(2)], (0, 1), (0,)),
    "one not ready": ([at(1, **UNREADY), at(2)], (1,), ()),
    "ready before terminating": ([going(1), at(2)], (1,), (0,)),
    "terminating where none is ready": ([going(1), going(2)], (0, 1), (0,)),
    "terminating, but it does not serve": ([going(1, is_serving=False)], (), ()),
    "hints for zones": ([at(1, **ZONE_A), at(2, **ZONE_B)], (0,), (0,)),
    "hints that one has not": ([at(1), at(2, **ZONE_B)], (0, 1), (0,)),
    "hints that name nobody here": ([at(1, **ZONE_B), at(2, **ZONE_B)], (0, 1), (0,)),
    "hints of one that is not ready": (
        [at(1, **ZONE_A), at(2, is_ready=False, is_serving=False)],
        (0,),
        (0,),
    ),
    "hints for nodes before those for zones": (
        [at(2, for_nodes=("node-1",), **ZONE_B), at(3, for_nodes=("node-3",), **ZONE_A)],
        (0,),
        (),
    ),
    "nobody": ([], (), ()),
}


@pytest.mark.parametrize(("endpoints", "cluster", "local"), CASES.values(), ids=CASES)
def test_a_node_chooses_from(endpoints, cluster, local):
    choice = choose_endpoints(endpoints, HERE)

    assert (choice.cluster, choice.local) == (cluster, local)


def test_without_a_zone_no_hints_for_zones_count():
    choice = choose_endpoints([at(1, **ZONE_A), at(2, **ZONE_B)], Here(node="node-1"))

    assert (choice.topology, choice.cluster) == (Topology.NONE, (0, 1))


def test_a_person_is_told_why_an_endpoint_is_not_used():
    endpoints = [at(1, **ZONE_A), at(2, **ZONE_B), at(3, **UNREADY), going(4)]
    choice = choose_endpoints(endpoints, HERE)

    def uses(*, is_local: bool) -> list[Use]:
        return [use_of(endpoints, i, choice, HERE, is_local=is_local) for i in range(4)]

    assert uses(is_local=False) == [Use.CHOSEN, Use.OTHER_ZONE, Use.NOT_READY, Use.TERMINATING]
    assert uses(is_local=True) == [Use.CHOSEN, Use.OTHER_NODE, Use.OTHER_NODE, Use.OTHER_NODE]


def test_a_health_check_counts_each_ready_endpoint_of_the_node_once():
    endpoints = [at(1), at(1), at(2), going(1), at(1, **UNREADY)]

    assert count_local_ready(endpoints, HERE) == 1
