"""A place of policies is made whole whatever was done to it, and by whom it was left."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from terway.agent.policy.nft_place import NftPlace
from terway.model.nft_rule import Log
from terway.policy.cluster import PodKey
from terway.policy.compiled import ClassId, Compiled, RuleSet, RuleSetId, Sides
from terway.policy.nft.lift import lift
from terway.policy.nft.names import TABLE
from terway.policy.nft.skeleton import FlowLog, Options, Place
from terway.policy.nft.verify import verify
from terway.policy.policies import Direction
from terway.policy.ports import EVERY_PORT, NOTHING
from tests.support.netns import ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

POD = PodKey(namespace="default", name="server")
HOOKS = {POD: "eth0"}
NUMBER = RuleSetId(1)
WISH = Compiled(
    hosts={ip_address("10.0.0.1"): ClassId(1)},
    rule_sets={
        NUMBER: RuleSet(
            direction=Direction.INGRESS, default=NOTHING, verdicts={ClassId(1): EVERY_PORT}
        )
    },
    sides={POD: Sides(ingress=NUMBER)},
)


@pytest.fixture
def netns() -> Iterator[ScratchNetns]:
    with scratch_netns("place") as made:
        yield made


def differences(place: NftPlace) -> tuple[object, ...]:
    return verify(Place.POD, WISH, HOOKS, lift(Place.POD, place.read()))


def test_a_chain_of_another_type_that_others_jump_to_does_not_keep_us_out(netns: ScratchNetns):
    """The kernel removes no chain that is jumped to, and gives none another hook: EBUSY."""
    netns.run(
        f"nft add table inet {TABLE}"
        f"; nft add chain inet {TABLE} input '{{ type route hook output priority 3; }}'"
        f"; nft add chain inet {TABLE} output"
        f"; nft add chain inet {TABLE} theirs '{{ type filter hook input priority 5; }}'"
        f"; nft add rule inet {TABLE} theirs jump output"
    )
    place = NftPlace(netns.path, Options())

    place.adopt(WISH, HOOKS)

    assert differences(place) == ()


def test_nobody_is_told_of_connections_any_more_who_asked_an_earlier_terwayd(netns: ScratchNetns):
    """It died, and whoever listened does so no more."""
    dead = NftPlace(netns.path, Options())
    dead.adopt(WISH, HOOKS)
    dead.log(FlowLog(group=7))

    place = NftPlace(netns.path, Options())
    place.adopt(WISH, HOOKS)

    place.set_aside()
    place.clear_away()
    table = place.read()
    assert table is not None
    rules = [rule for chain in table.chains.values() for rule in chain.rules]
    assert not any(isinstance(one, Log) for rule in rules for one in rule)
