"""What eni-config asks for in vain is told at the node."""

from __future__ import annotations

from typing import Any, cast

from terway.agent.kube_side import record_cautions
from terway.config.agent_config import parse_agent_config
from terway.model.ids import NodeName


class FakeEvents:
    def __init__(self):
        self.said: list[tuple[str, str, str, str]] = []

    def record(self, target, type_, reason, message):
        self.said.append((f"{target.kind}/{target.name}/{target.uid}", type_, reason, message))


def test_what_is_asked_for_in_vain_is_a_warning_at_the_node():
    files = {
        "eni_conf": "{}",
        "10-terway.conf": '{"type": "terway"}',
        "in_cluster_loadbalance": "true",
    }
    events = FakeEvents()

    record_cautions(cast("Any", events), NodeName("n1"), parse_agent_config(files).warnings)

    [(target, type_, reason, message)] = events.said
    assert (target, type_, reason) == ("Node/n1/n1", "Warning", "ConfigWithoutEffect")
    assert message.startswith("in_cluster_loadbalance: has no effect")
