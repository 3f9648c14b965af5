"""A way back of a node that was cut short anywhere is gone again to its end."""

from __future__ import annotations

import pytest

from terway.cli.migrate_back import GIVEN_BACK, is_given_back, set_aside
from terway.cli.place import place_of
from terway.store.upstream import RELATIONS


def test_a_node_is_not_given_back_before_its_rounds_are_set_aside(tmp_path):
    """Bug class 20: a later take-over would wait for a round that upstream never counts to."""
    place = place_of({}, root=tmp_path)
    place.state_dir.mkdir(parents=True)
    for path in (place.journal, place.state_dir / RELATIONS, place.state_dir / "supply.json"):
        path.write_text("")
    in_the_way = place.state_dir / f"supply.json{GIVEN_BACK}"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="supply"):
        list(set_aside(place))
    assert not is_given_back(place)

    in_the_way.rmdir()
    list(set_aside(place))

    assert is_given_back(place)
    assert not (place.state_dir / "supply.json").exists()
