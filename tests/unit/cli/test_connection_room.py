"""A table of connections that is nearly full is told before packets are dropped.

Bug class 43: the node drops new connections, and nothing of its network looks wrong.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from terway.cli.doctor import examine
from terway.cli.read_host import room_for_connections
from terway.cli.snapshot import HostView
from tests.support.snapshots import healthy

PATHS = ("/opt/cni/bin/terway", "/etc/cni/net.d/10-terway.conflist")


def state_of(folder: Path, *, used: int, most: int) -> str:
    (folder / "nf_conntrack_count").write_text(f"{used}\n")
    (folder / "nf_conntrack_max").write_text(f"{most}\n")
    return room_for_connections(folder)


@pytest.mark.parametrize(("used", "most"), [(0, 65536), (58_000, 65536), (100, 0)])
def test_a_table_with_room_is_nothing_to_speak_of(tmp_path, used, most):
    assert state_of(tmp_path, used=used, most=most) == "yes"


def test_without_connection_tracking_there_is_no_table(tmp_path):
    assert room_for_connections(tmp_path) == "yes"


def test_a_table_that_is_nearly_full_is_found_with_its_figures_and_a_remedy(tmp_path):
    state = state_of(tmp_path, used=60_000, most=65536)
    host = HostView(kernel_release="6.1", features={"room for connections": state}, files=PATHS)

    [found] = examine(replace(healthy(), host=host))

    assert found.what == "the kernel lacks room for connections"
    assert found.why.startswith("60000 of 65536 entries are used")
    assert found.command.startswith("sysctl -w net.netfilter.nf_conntrack_max=")
