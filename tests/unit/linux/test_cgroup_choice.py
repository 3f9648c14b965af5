"""Which cgroup has the node's processes in it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from terway.linux.ebpf.cgroup import find_cgroup
from terway.model.errors import UsageError


def cgroup2(folder: Path, *, is_first: bool) -> Path:
    folder.mkdir()
    (folder / "cgroup.controllers").touch()
    if not is_first:
        (folder / "cgroup.type").touch()
    return folder


def test_the_first_of_all_cgroups_is_taken(tmp_path):
    part = cgroup2(tmp_path / "part", is_first=False)
    whole = cgroup2(tmp_path / "whole", is_first=True)

    assert find_cgroup(None, (tmp_path / "absent", part, whole)) == whole


def test_a_part_of_them_is_taken_only_by_name(tmp_path):
    part = cgroup2(tmp_path / "part", is_first=False)

    assert find_cgroup(part) == part
    with pytest.raises(UsageError, match="only a part"):
        find_cgroup(None, (part,))


def test_a_folder_that_is_no_cgroup_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a cgroup2") as caught:
        find_cgroup(tmp_path)

    assert caught.value.field == "--cgroup"


def test_a_node_without_cgroup2_is_told_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="mount one, or name it by --cgroup"):
        find_cgroup(None, (tmp_path / "absent",))
