"""What is told of lists of plugins that somebody put beside ours."""

from __future__ import annotations

import json

import pytest

from terway.agent.handwritten import unsuitable_lists


def write(folder, name, *types):
    plugins = [{"type": one} for one in types]
    (folder / name).write_text(json.dumps({"name": "n", "cniVersion": "1.0.0", "plugins": plugins}))


def test_the_plugin_bandwidth_after_ours_is_told_with_its_place_and_what_helps(tmp_path):
    # bug class 52: other users of traffic control
    write(tmp_path, "05-mine.conflist", "terway", "portmap", "bandwidth")

    (told,) = unsuitable_lists(tmp_path)

    assert told.field == "05-mine.conflist.plugins[2]"
    assert "egress limit" in told.text
    assert "take it out" in told.text


@pytest.mark.parametrize(
    "types", [("terway",), ("terway", "portmap"), ("ptp", "bandwidth"), ("bandwidth",)]
)
def test_lists_that_work_are_not_told(tmp_path, types):
    write(tmp_path, "10-a.conflist", *types)

    assert list(unsuitable_lists(tmp_path)) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"plugins": 3}', '{"plugins": [null]}'])
def test_what_is_no_list_keeps_nobody_from_starting(tmp_path, content):
    (tmp_path / "10-a.conflist").write_text(content)

    assert list(unsuitable_lists(tmp_path)) == []
    assert list(unsuitable_lists(tmp_path / "absent")) == []
