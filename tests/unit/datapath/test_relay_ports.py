"""The node's own sockets and relayed connections have different ports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from terway.datapath.relay_ports import FIRST, LAST, plan_reserved


@pytest.mark.parametrize(
    ("local_range", "reserved", "expected"),
    [
        ("32768\t60999", "", None),
        ("1024\t65535", "", "13616-29999"),
        ("20000 40000", "", "20000-29999"),
        ("1024 65535", "8080,9000-9010", "8080,9000-9010,13616-29999"),
        ("1024 65535", "29000-31000", "13616-31000"),
        ("1024 65535", "13000-30000", None),
        ("1024 13615", "", None),
    ],
)
def test_ports_are_reserved_where_both_would_use_them(local_range, reserved, expected):
    planned = plan_reserved(local_range, reserved)

    assert (planned.value if planned else None) == expected


def test_reserving_twice_changes_nothing():
    planned = plan_reserved("1024 65535", "1,5-7,30000")
    assert planned is not None

    assert plan_reserved("1024 65535", planned.value) is None


def test_the_ports_are_those_of_the_programs():
    text = (Path(__file__).parents[3] / "bpf" / "relay.h").read_text()
    first, count = (
        int(re.search(rf"#define {name}\s+(\d+)", text)[1])  # type: ignore[index]  # it is there
        for name in ("RELAY_PORT_FIRST", "RELAY_PORTS")
    )

    assert (first, first + count - 1) == (FIRST, LAST)
