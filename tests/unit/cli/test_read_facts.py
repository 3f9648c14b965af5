"""Which tables of nftables does a node have to have? Asked without a kernel."""

from __future__ import annotations

import pytest

from terway.cli.read_facts import Ground
from terway.config.cni_conf import SymmetricRouting
from terway.datapath.facts import NodeFacts
from terway.datapath.masquerade import TABLE
from terway.datapath.symmetric import symmetric_of
from terway.model.address import Family, IPPair
from terway.model.interface import Mode

MARKING = ("ip terway_symmetric", "ip6 terway_symmetric_ipv6")


def ground(*chained: str, mode: Mode = Mode.VETH) -> Ground:
    asked = symmetric_of(SymmetricRouting(), uplink="ens5", chained=chained)
    facts = NodeFacts(
        addresses=IPPair(), uplink="ens5", families=(Family.V4, Family.V6), symmetric=asked
    )
    has_legs = mode is Mode.EXCLUSIVE
    return Ground(mode=mode, facts=facts, has_host_peer=True, has_legs=has_legs)


@pytest.mark.parametrize(
    ("chained", "translates", "tables"),
    [((), False, ()), ((), True, MARKING), (("portmap",), False, MARKING)],
    ids=["nobody translates", "somebody does", "portmap will"],
)
def test_tables_that_mark_connections_are_demanded_where_something_translates(
    chained: tuple[str, ...], translates: bool, tables: tuple[str, ...]
) -> None:
    assert ground(*chained).tables(translates=translates) == tables


def test_the_table_of_second_legs_is_demanded_in_any_case() -> None:
    assert ground(mode=Mode.EXCLUSIVE).tables(translates=False)[0] == TABLE


def test_the_way_back_is_by_the_interface_of_the_default_route_unless_one_is_named() -> None:
    own = symmetric_of(SymmetricRouting(interface="eth9"), uplink="ens5", chained=())
    default = ground().facts.symmetric

    assert (own and own.interface, default and default.interface) == ("eth9", "ens5")
    assert symmetric_of(None, uplink="ens5", chained=()) is None
