"""What the node has whatever its pods are is looked at as soon as somebody takes it away."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from terway.agent.blame import Blame
from terway.agent.watch import KernelWatch
from terway.datapath.facts import Symmetric
from terway.datapath.symmetric import symmetric_objects
from terway.linux.foreign import Change, Kind
from terway.model.address import Family, IPPair
from terway.model.network import Route, RoutingRule
from tests.support.attachments import NODE_FACTS

HOW = Symmetric(table=321, priority=654)


def standing():
    gateways = IPPair(v4=IPv4Address("192.168.31.253"))
    node = replace(NODE_FACTS, symmetric=HOW, families=(Family.V4,), gateways=gateways)
    return tuple(symmetric_objects(node))


@pytest.fixture
def looks():
    return []


@pytest.fixture
def watch(looks):
    nobody: Any = None  # is asked about pods and ENIs alone
    reconciler: Any = SimpleNamespace(wake=lambda: looks.append("node"))
    return KernelWatch(
        enis=nobody,
        reconciler=reconciler,
        turns=nobody,
        blame=Blame(now=lambda: 0.0, name_of=lambda _: "ip"),
        standing=standing(),
    )


def gone(one):
    kind = Kind.RULE if isinstance(one, RoutingRule) else Kind.ROUTE
    return Change(kind=kind, is_gone=True, process=7, object=one)


def test_the_way_back_is_looked_at_when_its_rule_or_its_route_is_taken_away(watch, looks):
    """Bug class 27: others rewrite our rules, those of symmetric routing, too."""
    for one in standing():
        watch._see(gone(one))

    assert looks == ["node", "node"]


def test_rules_and_routes_of_others_are_no_reason_to_look(watch, looks):
    for one in standing():
        other = {"table": 7} if isinstance(one, Route) else {"priority": 100}
        watch._see(gone(replace(one, **other)))

    assert looks == []
