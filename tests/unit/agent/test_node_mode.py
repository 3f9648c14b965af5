"""A node's mode is decided once; who would change it is told how to go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from terway.agent.node_mode import LABEL, KeptMode, decide_mode, mode_of_label, read_node_mode
from terway.kube.types import Node, ObjectMeta
from terway.model.errors import TransientError, UsageError
from terway.model.ids import NodeName
from terway.model.interface import InterfaceSpec, Mode
from tests.support.attachments import attachment

SHARED = attachment()
OWN_ENI = replace(SHARED, spec=InterfaceSpec(mode=Mode.EXCLUSIVE))
NODE = NodeName("node-1")


class Api:
    """An API server that has one Node, or does not answer."""

    def __init__(self, label: str | None, *, is_away: bool = False) -> None:
        self.label = label
        self.is_away = is_away

    async def get(self, resource: object, name: str) -> Node:
        if self.is_away:
            raise TransientError("no answer")
        labels = {} if self.label is None else {LABEL: self.label}
        return Node(metadata=ObjectMeta(name=name, labels=labels))


@pytest.fixture
def kept(tmp_path: Path) -> KeptMode:
    return KeptMode(tmp_path / "node_mode")


@pytest.mark.parametrize(
    ("value", "mode"),
    [
        ("eniOnly", Mode.EXCLUSIVE),
        ("ENIONLY", Mode.EXCLUSIVE),
        ("default", Mode.VETH),
        ("Default", Mode.VETH),
        ("", Mode.VETH),
    ],
)
def test_a_label_is_read_in_any_case(value, mode):
    assert mode_of_label(value) is mode


def test_another_value_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match=r"'eni'.*default or eniOnly") as raised:
        mode_of_label("eni")

    assert raised.value.field == f"metadata.labels.{LABEL}"


@pytest.mark.parametrize(
    ("wanted", "was", "held"),
    [
        (Mode.EXCLUSIVE, Mode.VETH, ()),
        (Mode.VETH, Mode.EXCLUSIVE, ()),
        (Mode.EXCLUSIVE, None, (SHARED,)),
        (Mode.VETH, None, (OWN_ENI,)),
    ],
)
def test_a_change_is_refused_with_the_way_back(wanted, was, held):
    with pytest.raises(UsageError, match="exclusive eni mode changed") as raised:
        decide_mode(wanted, was, held)

    assert "kubectl label node" in str(raised.value)


async def test_the_first_start_keeps_what_the_label_says(kept):
    assert await read_node_mode(Api("eniOnly"), NODE, kept, ()) is Mode.EXCLUSIVE

    assert kept.read() is Mode.EXCLUSIVE


async def test_a_node_without_the_label_shares_its_enis_for_ever(kept):
    assert await read_node_mode(Api(None), NODE, kept, ()) is Mode.VETH

    with pytest.raises(UsageError, match="exclusive eni mode changed"):
        await read_node_mode(Api("eniOnly"), NODE, kept, ())


async def test_a_refused_change_leaves_what_was_kept(kept):
    kept.write(Mode.EXCLUSIVE)

    with pytest.raises(UsageError):
        await read_node_mode(Api(None), NODE, kept, ())

    assert kept.read() is Mode.EXCLUSIVE


async def test_a_later_start_does_without_the_api_server(kept):
    kept.write(Mode.EXCLUSIVE)

    assert await read_node_mode(Api(None, is_away=True), NODE, kept, ()) is Mode.EXCLUSIVE


async def test_the_first_start_does_not_guess(kept):
    with pytest.raises(TransientError):
        await read_node_mode(Api(None, is_away=True), NODE, kept, ())

    assert kept.read() is None


async def test_without_kubernetes_there_is_no_label(kept):
    assert await read_node_mode(None, NODE, kept, ()) is Mode.VETH


def test_a_file_that_says_something_else_is_refused(kept, tmp_path):
    (tmp_path / "node_mode").write_text("both")

    with pytest.raises(UsageError, match="'both'"):
        kept.read()
