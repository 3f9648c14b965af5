"""Network configurations: what is accepted, and what a plugin gets to see."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terway.lab.kubelet.netconf import SUPPORTED_VERSIONS, negotiate, parse_network, plugin_stdin
from terway.model.errors import UsageError


def conflist(**fields: object) -> str:
    return json.dumps({"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "p"}], **fields})


def test_a_single_configuration_is_a_chain_of_one() -> None:
    network = parse_network('{"cniVersion": "0.3.1", "name": "n", "type": "ptp", "mtu": 9000}')

    assert [plugin.type for plugin in network.plugins] == ["ptp"]
    assert json.loads(plugin_stdin(network, network.plugins[0]))["mtu"] == 9000


@pytest.mark.parametrize(
    ("version", "more", "chosen"),
    [
        ("0.4.0", [], "0.4.0"),
        ("0.4.0", ["1.0.0", "1.1.0"], "1.1.0"),
        ("1.1.0", ["0.3.1"], "1.1.0"),
        ("2.0.0", ["1.0.0"], "1.0.0"),
    ],
)
def test_C12_the_highest_version_that_both_speak_is_chosen(
    version: str, more: list[str], chosen: str
) -> None:
    assert negotiate(version, more) == chosen


@given(st.sampled_from(SUPPORTED_VERSIONS), st.lists(st.sampled_from(SUPPORTED_VERSIONS)))
def test_C12_the_order_of_versions_does_not_matter(version: str, more: list[str]) -> None:
    assert negotiate(version, more) == negotiate(version, more[::-1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (conflist(name="../x"), "name '../x'"),
        (conflist(name=""), "name ''"),
        (conflist(cniVersion="9.9.9"), "not supported"),
        (conflist(plugins=[]), "no plugins"),
        (conflist(plugins={}), "not a list"),
        (conflist(plugins=[{"type": "p", "ipam": {"type": "a/b"}}]), "name of a program"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_network(text)


def test_C5_siblings_are_ignored_where_only_inlined_plugins_load() -> None:
    sibling = '{"type": "q"}'

    joined = parse_network(conflist(), siblings=[sibling])
    alone = parse_network(conflist(loadOnlyInlinedPlugins=True), siblings=[sibling])

    assert [plugin.type for plugin in joined.plugins] == ["p", "q"]
    assert [plugin.type for plugin in alone.plugins] == ["p"]
    assert parse_network(joined.source) == joined


def test_C5_loading_only_inlined_plugins_needs_some() -> None:
    text = '{"cniVersion": "1.1.0", "name": "n", "loadOnlyInlinedPlugins": true}'

    with pytest.raises(UsageError, match="loadOnlyInlinedPlugins is true and there is no plugins"):
        parse_network(text, siblings=['{"type": "q"}'])


def test_C6_a_sibling_that_is_no_configuration_is_refused() -> None:
    with pytest.raises(UsageError, match="plugin of n: not JSON"):
        parse_network(conflist(), siblings=["{"])


def test_L4_a_plugin_sees_of_the_runtime_what_it_declared() -> None:
    plugins = [{"type": "p", "capabilities": {"bandwidth": True, "mac": False}}]
    network = parse_network(conflist(plugins=plugins))
    asked = {"bandwidth": {"ingressRate": 1}, "mac": "x", "portMappings": []}

    stdin = json.loads(plugin_stdin(network, network.plugins[0], runtime=asked))

    assert stdin["runtimeConfig"] == {"bandwidth": {"ingressRate": 1}}
