"""Every text stays within 80 columns, however long names are; addresses are never cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, ip_network

import pytest

from terway.cli.doctor import doctor_lines, examine
from terway.cli.mapping import mapping_lines, mapping_of
from terway.cli.metadata import metadata_lines
from terway.cli.prefixes import prefixes_of
from terway.cli.show import show_lines
from terway.cli.snapshot import PrefixView, Snapshot
from terway.cli.table import WIDTH
from terway.model.address import IPPair
from terway.model.attachment import PodRef
from terway.model.interface import Bandwidth, InterfaceSpec
from tests.support.snapshots import ENI_ID, PODS, A, healthy

LONG = IPv6Address("2001:db8:1234:5678:9abc:def0:1234:5678")
PREFIX = IPv4Network("192.168.40.0/28")
SECOND = ip_network("2001:db8:1234:5678:9abc::/80")


def long_names() -> Snapshot:
    there = healthy()
    journal, cloud, instance = there.journal, there.cloud, there.instance
    assert journal is not None
    assert cloud is not None
    assert instance is not None
    pod = PodRef(namespace="n" * 63, name="p" * 63)
    lease = replace(PODS["a"].lease, addresses=IPPair(v4=A, v6=LONG))
    spec = InterfaceSpec(bandwidth=Bandwidth(ingress=12_345_678, egress=1_250_000_000))
    held = replace(PODS["a"], pod=pod, lease=lease, spec=spec)
    phase = "assigned"
    prefixes = tuple(
        PrefixView(network=one, eni_id=ENI_ID, phase=phase) for one in (PREFIX, SECOND)
    )
    return replace(
        there,
        node_name="cn-hangzhou.192.168.100.200",
        journal=replace(journal, attachments=(held, PODS["near"]), prefixes=prefixes),
        cloud=replace(cloud, enis=(replace(cloud.enis[0], ipv4_prefixes=(PREFIX,)),)),
        instance=replace(instance, instance_type="ecs.ebmgn7ix.32xlarge.with.a.long.name"),
    )


def texts(there: Snapshot) -> dict[str, Iterable[str]]:
    assert there.instance is not None
    return {
        "show": show_lines(there),
        "mapping": mapping_lines(mapping_of(there), there, prefixes_of(there)),
        "doctor": doctor_lines(examine(there)),
        "metadata": metadata_lines(there.instance),
    }


@pytest.mark.parametrize("name", ["show", "mapping", "doctor", "metadata"])
def test_long_names_give_way_and_single_words_alone_pass_80_columns(name: str) -> None:
    lines = list(texts(long_names())[name])

    assert [one for one in lines if len(one) > WIDTH and " " in one.strip()] == []


@pytest.mark.parametrize("name", ["show", "mapping"])
def test_an_address_is_never_cut(name: str) -> None:
    assert any(str(LONG) in one for one in texts(long_names())[name])


def test_a_prefix_is_a_row_with_what_is_bound_and_where_it_differs() -> None:
    rows = {one.network: one for one in prefixes_of(long_names())}

    assert rows[PREFIX].difference == ""
    assert "the cloud does not have it" in rows[SECOND].difference
    assert any(str(SECOND) in one.what for one in examine(long_names()))
