"""Two packet filters at once are one to the engine: both have all of it, each its own places."""

from __future__ import annotations

import pytest

from terway.agent.policy.side_by_side import SideBySide
from terway.model.errors import TransientError
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled, RuleSetId, Sides
from tests.support.paper_filter import PaperFilter

POD = PodKey(namespace="shop", name="server")
WISH = Compiled(sides={POD: Sides(ingress=RuleSetId(1))})


@pytest.fixture
def parts() -> tuple[PaperFilter, PaperFilter]:
    return PaperFilter(), PaperFilter()


def test_what_is_put_in_force_is_so_in_both(parts):
    both = SideBySide(*parts)

    both.adopt(WISH, {})
    assert [one.compiled for one in parts] == [WISH, WISH]

    both.apply(Change(sides={POD: None}), {})
    assert [one.compiled.sides for one in parts] == [{}, {}]


def test_what_one_says_otherwise_is_told(parts):
    both = SideBySide(*parts)
    both.adopt(WISH, {})

    parts[1].flush()

    assert both.disturbed() == ("",)
    assert both.read().wrong(WISH) == {"": ("not as wished",)}


def test_where_one_fails_the_engine_hears_it(parts):
    parts[1].failing = [TransientError("no room")]

    with pytest.raises(TransientError, match="no room"):
        SideBySide(*parts).adopt(WISH, {})


def test_what_is_refused_in_any_is_refused(parts):
    parts[1].refused = {POD: "why"}

    assert SideBySide(*parts).refused == {POD: "why"}


def test_all_that_was_set_aside_goes_in_both(parts):
    both = SideBySide(*parts)
    parts[0].left_behind = parts[1].left_behind = 1

    assert both.set_aside()
    both.let_out()
    both.clear_away()

    assert not both.set_aside()
