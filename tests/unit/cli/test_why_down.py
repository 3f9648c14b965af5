"""A terwayd that is down is named with what it ended with, where it left word."""

from __future__ import annotations

from pathlib import Path

import pytest

from terway.agent.paths import paths_under
from terway.cli.place import place_of
from terway.cli.read_node import get_page
from terway.model.errors import TransientError


def test_the_last_words_of_a_terwayd_are_found_where_it_leaves_them(tmp_path: Path) -> None:
    place = place_of({}, root=tmp_path, node_name="n1")
    paths = paths_under(tmp_path)
    assert place.last_error == paths.last_error
    paths.last_error.parent.mkdir(parents=True)
    paths.last_error.write_text("eni_conf.enable_ip_prefix is true: remove it\n")

    with pytest.raises(TransientError, match=r"ended with: eni_conf\.enable_ip_prefix is true"):
        get_page(place, "/readyz")


def test_without_a_word_the_way_to_its_pod_is_told(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="kubectl -n kube-system get pods"):
        get_page(place_of({}, root=tmp_path, node_name="n1"), "/readyz")
