"""What terwayd notes before it gives an address back: without the note it gives none."""

from __future__ import annotations

import pytest
from msgspec import structs

from terway.agent.supply import KeptRound, Supply
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


def given_to(instance_id: str) -> PoolNode:
    found = node(1)
    meta = structs.replace(found.spec.node_metadata, instance_id=instance_id)
    return structs.replace(found, spec=structs.replace(found.spec, node_metadata=meta))


def test_of_two_instances_of_one_node_name_none_takes_what_the_other_is_given(tmp_path, capsys):
    supply = Supply(KeptRound(tmp_path / "supply.json"), clock=lambda: 0.0, instance_id="i-mine")

    assert not supply.take(given_to("i-other"))
    assert supply.node is None
    said = capsys.readouterr().out
    assert "two have the same node name" in said
    assert "i-other" in said

    assert supply.take(given_to("i-mine"))
    assert not supply.take(given_to("i-other"))
    assert supply.node == given_to("i-mine")
