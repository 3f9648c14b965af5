"""docs/datapath.md says all that the data path can say."""

from __future__ import annotations

import re
from pathlib import Path

from terway.linux.ebpf.losses import Loss

PAGE = Path(__file__).parents[2] / "docs" / "datapath.md"


def test_every_reason_of_a_loss_is_on_the_page_and_no_other():
    table = PAGE.read_text().partition("| reason |")[2]

    said = set(re.findall(r"`([a-z-]+)`", "".join(row.split("|")[1] for row in rows(table))))

    assert said == {one.word for one in Loss if one}


def rows(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("| `")]
