"""What terwayd notes before it gives an address back: without the note it gives none."""

from __future__ import annotations

import pytest
from msgspec import structs

from terway.agent.supply import KeptRound
from terway.kube.crds import PoolNode
from terway.kube.types import ObjectMeta
from terway.model.errors import TransientError


def node(round_: int) -> PoolNode:
    found = PoolNode(metadata=ObjectMeta(name="n1", uid="u"))
    return structs.replace(found, status=structs.replace(found.status, round=round_))


async def test_a_disk_that_is_full_is_told_with_the_file_and_waited_for(tmp_path):
    path = tmp_path / "supply.json"
    kept = KeptRound(path)
    await kept.keep(node(1))
    in_the_way = path.with_suffix(".draft")
    in_the_way.mkdir()

    with pytest.raises(TransientError, match=r"supply\.json cannot be written: .*make room there"):
        await kept.keep(node(2))
    assert kept.answered.round == KeptRound(path).answered.round == 1

    in_the_way.rmdir()
    await kept.keep(node(2))
    assert KeptRound(path).answered.round == 2
