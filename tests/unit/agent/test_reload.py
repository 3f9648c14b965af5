"""A changed configuration is followed as far as it can be, and a bad one changes nothing."""

from __future__ import annotations

import json

import pytest

from terway.agent.reload import Reloader
from terway.config.agent_config import AgentConfig, parse_agent_config
from terway.model.errors import UsageError

CNI = {"10-terway.conf": '{"type": "terway"}', "disable_network_policy": "true"}


def files(**keys):
    return {"eni_conf": json.dumps(keys), **CNI}


class Node:
    """What a reloader changes and says."""

    def __init__(self, **keys):
        self.applied: list[AgentConfig] = []
        self.said: list[tuple[str, str, str]] = []
        self.refusal = ""
        self.is_exclusive = False
        self.reloader = Reloader(
            parse_agent_config(files(**keys)),
            check=self._check,
            apply=self._apply,
            tell=lambda *event: self.said.append(event),
        )

    def _check(self, config: AgentConfig) -> None:
        if config.eni.uses_prefixes and self.is_exclusive:
            raise UsageError("eni_conf.enable_ip_prefix is true: remove it")

    def _apply(self, config: AgentConfig) -> None:
        if self.refusal:
            raise UsageError(self.refusal)
        self.applied.append(config)

    def offer(self, patch: str | None = None, **keys) -> bool:
        return self.reloader.offer(files(**keys), patch)


def test_what_can_change_is_applied_and_said():
    node = Node(max_pool_size=5)

    assert node.offer(max_pool_size=9, eni_tags={"a": "b"})

    [config] = node.applied
    assert (config.eni.max_pool_size, config.eni.eni_tags) == (9, (("a", "b"),))
    assert node.said == [
        ("Normal", "ConfigCheck", "applied: eni_conf.eni_tags, eni_conf.max_pool_size")
    ]


def test_the_same_configuration_is_nothing_new():
    node = Node(max_pool_size=5)

    assert node.offer(max_pool_size=5)
    assert node.offer(max_pool_size=5)

    assert (node.applied, node.said) == ([], [])


def test_a_default_that_is_spelt_out_is_no_change():
    node = Node()

    assert node.offer(enable_patch_pod_ips=True, ip_stack="ipv4", min_pool_size=0)

    assert node.said == []
    assert not node.reloader.state.pending


def test_what_needs_a_restart_is_said_and_not_half_applied():
    node = Node(ip_stack="ipv4", max_pool_size=5)

    assert node.offer(ip_stack="dual", max_pool_size=9)

    [config] = node.applied
    assert config.eni.ip_stack.value == "ipv4"
    assert config.eni.max_pool_size == 9
    assert node.reloader.state.pending == ("eni_conf.ip_stack",)
    assert node.said[1] == (
        "Warning",
        "ConfigCheck",
        "takes hold when terwayd starts again: eni_conf.ip_stack",
    )

    assert node.offer(ip_stack="ipv4", max_pool_size=9)
    assert not node.reloader.state.pending


@pytest.mark.parametrize(
    ("keys", "pending"),
    [
        (
            {"ip_stack": "dual", "extra_routes": [{"dst": "fd00::/8"}]},
            "eni_conf.extra_routes, eni_conf.ip_stack",
        ),
        (
            {"enable_ip_prefix": True, "ipv4_prefix_count": 2},
            "eni_conf.enable_ip_prefix, eni_conf.ipv4_prefix_count",
        ),
    ],
)
def test_new_values_that_contradict_old_ones_wait_for_the_restart_with_all_others(keys, pending):
    node = Node(ip_stack="ipv4", max_pool_size=5)

    # Each is right with the new value of the other, which cannot change now.
    assert node.offer(**{"ip_stack": "ipv4", "max_pool_size": 9} | keys)

    assert node.applied == []
    [(type_, reason, message)] = node.said
    assert (type_, reason) == ("Warning", "ConfigCheck")
    waits = {*pending.split(", "), "eni_conf.max_pool_size"}
    assert message == f"takes hold when terwayd starts again: {', '.join(sorted(waits))}"
    assert node.offer(ip_stack="ipv4", max_pool_size=5)
    assert not node.reloader.state.pending


def test_what_terwayd_could_not_start_with_is_refused_before_the_restart():
    node = Node()
    node.is_exclusive = True

    assert not node.offer(enable_ip_prefix=True)

    [(type_, reason, message)] = node.said
    assert (type_, reason) == ("Warning", "ConfigError")
    assert "enable_ip_prefix" in message


def test_a_bad_configuration_is_refused_once_and_the_old_one_goes_on():
    node = Node(max_pool_size=5)

    assert not node.offer(max_pool_size=-1)
    assert not node.offer(max_pool_size=-1)

    assert node.applied == []
    [(type_, reason, message)] = node.said
    assert (type_, reason) == ("Warning", "ConfigError")
    assert message.startswith("the former configuration goes on: eni_conf.max_pool_size is -1")
    assert node.reloader.state.refused == 1

    assert node.offer(max_pool_size=6)
    assert node.reloader.state.error == ""
    assert len(node.applied) == 1


def test_what_the_pool_refuses_is_refused_as_a_whole():
    node = Node(max_pool_size=5)
    node.refusal = "eni_conf.vswitches has no vSwitch in zone a"

    assert not node.offer(vswitches={"b": ["vsw-1"]}, max_pool_size=9)

    assert node.reloader.state.error == node.refusal
    node.refusal = ""
    assert node.offer(max_pool_size=7)
    assert node.applied[-1].eni.max_pool_size == 7


def test_a_nodes_own_part_is_merged_and_its_null_gives_the_default_back():
    node = Node(max_pool_size=5, min_pool_size=2)

    assert node.offer('{"min_pool_size": null, "max_pool_size": 7}', max_pool_size=5)

    assert (node.applied[0].eni.min_pool_size, node.applied[0].eni.max_pool_size) == (0, 7)


def test_a_changed_cni_configuration_waits_for_a_restart():
    node = Node()
    changed = files() | {"10-terway.conf": '{"type": "terway", "mtu": 1400}'}

    assert node.reloader.offer(changed, None)

    assert node.applied == []
    assert node.reloader.state.pending == ("10-terway.conf",)


def test_a_changed_list_of_plugins_is_named_as_it_is():
    node = Node()
    changed = '{"name": "terway", "plugins": [{"type": "terway", "mtu": 1400}]}'

    assert node.reloader.offer(files() | {"10-terway.conflist": changed}, None)

    assert node.reloader.state.pending == ("10-terway.conflist",)


@pytest.mark.parametrize(("keys", "valid"), [({}, 1), ({"zzz": 1}, 0)])
def test_metrics_say_whether_the_configuration_is_followed(keys, valid):
    node = Node()
    node.offer(**keys)

    lines = [line for gauge in node.reloader.gauges() for line in gauge.lines()]

    assert f"terway_config_valid {valid}.0" in lines
    assert f'terway_config_reload_count{{outcome="refused"}} {1 - valid}.0' in lines
