"""What cannot be right in eni-config keeps terwayd from starting, and the node says so."""

from __future__ import annotations

import pytest

from terway.agent.node_config import KeptPatch, read_agent_config
from terway.agent.refusal import told_at_node
from terway.kube.resource import EVENTS, NODES
from terway.kube.types import Node, ObjectMeta
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client

NODE = NodeName("n1")


def write(folder, eni_conf):
    (folder / "eni_conf").write_text(eni_conf)
    (folder / "10-terway.conf").write_text('{"type": "terway"}')
    return folder / "eni_conf"


async def read(path, client):
    kept = KeptPatch(path.parent / "own.json")
    return await read_agent_config(path, client, NODE, namespace="kube-system", kept=kept)


@pytest.mark.parametrize(
    ("eni_conf", "labels", "says"),
    [
        ('{"max_pool": 1, "min_eni": -1}', {}, "eni_conf.min_eni is -1"),
        ("{}", {"terway-config": "gone"}, "no ConfigMap kube-system/gone"),
    ],
)
async def test_what_cannot_be_right_is_an_event_at_the_node(tmp_path, eni_conf, labels, says):
    path = write(tmp_path, eni_conf)
    async with open_client(make_cluster(), tmp_path) as client:
        await client.create(NODES, Node(metadata=ObjectMeta(name=NODE, labels=labels)))

        with pytest.raises(UsageError, match=says):
            async with told_at_node(client, NODE):
                await read(path, client)

        (event,) = (one for one in (await client.list(EVENTS)).items if one.reason == "ConfigError")
    assert event.involved_object.name == NODE
    assert event.message.startswith("terwayd cannot start: ")
    assert says in event.message


async def test_without_an_api_server_the_error_is_all(tmp_path):
    with pytest.raises(UsageError, match="must be a JSON object"):
        await read(write(tmp_path, "[]"), None)
