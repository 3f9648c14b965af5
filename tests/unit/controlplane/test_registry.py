"""Controllers are made by name, and a part that has several names is made once."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

from terway.controlplane.config import CONTROLLERS
from terway.controlplane.context import Parts
from terway.controlplane.informers import SharedInformers
from terway.controlplane.registry import FACTORIES, make_parts


def test_every_name_that_can_be_asked_for_has_a_factory():
    assert set(FACTORIES) == set(CONTROLLERS)


def test_a_part_with_several_names_is_made_once():
    made: list[str] = []

    def both(context: Any) -> Parts:
        made.append("both")
        return Parts()

    def other(context: Any) -> Parts:
        made.append("other")
        return Parts()

    context: Any = SimpleNamespace(informers=SharedInformers(cast("Any", None), rng=Random(1)))
    make_parts(("a", "b"), context, factories={"a": both, "b": both, "c": other})

    assert made == ["both"]
