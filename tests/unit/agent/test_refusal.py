"""A terwayd that does not start leaves word of why: at the node, and for tools."""

from __future__ import annotations

import pytest

from terway.agent.refusal import LastError, told_at_node
from terway.kube.resource import EVENTS, NODES
from terway.kube.types import Node, ObjectMeta
from terway.model.errors import TransientError, UsageError
from terway.model.ids import NodeName
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client

NODE = NodeName("n1")
REFUSAL = UsageError("eni_conf.enable_ip_prefix is true: remove it", field="eni_conf")


async def events(client):
    found = (await client.list(EVENTS)).items
    return [one.message for one in found if one.reason == "ConfigError"]


@pytest.mark.parametrize(
    "error", [REFUSAL, ExceptionGroup("start", [ExceptionGroup("config", [REFUSAL])])]
)
async def test_whatever_refuses_the_start_is_told_at_the_node(tmp_path, error):
    async with open_client(make_cluster(), tmp_path) as client:
        await client.create(NODES, Node(metadata=ObjectMeta(name=NODE)))

        with pytest.raises(type(error)):
            async with told_at_node(client, NODE):
                raise error

        assert await events(client) == [f"terwayd cannot start: {REFUSAL}"]


async def test_what_passes_by_itself_is_nobodys_to_mend(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        with pytest.raises(TransientError):
            async with told_at_node(client, NODE):
                raise TransientError("the metadata do not answer")

        assert await events(client) == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (REFUSAL, str(REFUSAL)),
        (ExceptionGroup("start", [REFUSAL, TransientError("later")]), f"{REFUSAL}; later"),
        (ValueError("seven"), "ValueError: seven"),
    ],
)
def test_the_last_error_is_kept_until_a_terwayd_serves(tmp_path, error, says):
    last = LastError(tmp_path / "last_error")

    with pytest.raises(type(error)), last.kept():
        raise error

    assert (tmp_path / "last_error").read_text() == f"{says}\n"
    last.forget()
    assert list(tmp_path.iterdir()) == []


def test_an_ordered_end_leaves_no_word(tmp_path):
    last = LastError(tmp_path / "last_error")

    with last.kept():
        pass
    last.forget()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_does_not_hide_the_error(tmp_path):
    last = LastError(tmp_path / "gone" / "last_error")

    with pytest.raises(UsageError, match="enable_ip_prefix"), last.kept():
        raise REFUSAL
