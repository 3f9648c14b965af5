"""The runtime gets a list made of what the user wrote, with his plugins after ours."""

from __future__ import annotations

import json

import pytest

from terway.config.choices import VirtualType
from terway.config.cni_conf import SymmetricRouting, parse_cni_conf
from terway.model.errors import UsageError
from terway.model.interface import Bandwidth

OURS = {"type": "terway", "eniip_virtual_type": "veth"}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


def parse(conf=None, conflist=None):
    files = {}
    if conf is not None:
        files["10-terway.conf"] = json.dumps(conf)
    if conflist is not None:
        files["10-terway.conflist"] = json.dumps(conflist)
    return parse_cni_conf(files)


def test_a_single_plugin_becomes_a_list_of_one():
    conf, cautions = parse({"cniVersion": "0.4.0", "name": "terway", **OURS})

    assert cautions == ()
    assert json.loads(conf.conflist) == {
        "cniVersion": "0.4.0",
        "name": "terway",
        "cniVersions": ["0.4.0", "1.1.0"],
        "plugins": [OURS],
    }


def test_a_list_keeps_the_users_version_name_plugins_and_keys():
    chain = {
        "cniVersion": "0.3.1",
        "name": "mine",
        "disableCheck": True,
        "plugins": [OURS, PORTMAP],
    }

    conf, _ = parse({"type": "terway"}, chain)

    assert json.loads(conf.conflist) == chain
    assert conf.chained == ("portmap",)


def test_name_and_version_have_defaults_that_every_runtime_takes():
    conf, _ = parse({"type": "terway"})

    assert (conf.name, conf.version) == ("terway", "0.4.0")


def test_a_configuration_that_asks_for_the_newest_needs_no_choice():
    conf, _ = parse({"cniVersion": "1.1.0", "type": "terway"})

    assert "cniVersions" not in json.loads(conf.conflist)


@pytest.mark.parametrize(
    ("keys", "mtu"), [({}, None), ({"mtu": 8500}, 8500), ({"auto_mtu": False}, 1500)]
)
def test_the_mtu_is_what_was_said_or_the_nodes_own(keys, mtu):
    conf, _ = parse({**OURS, **keys})

    assert conf.mtu_bytes == mtu


def test_an_explicit_mtu_goes_before_auto_mtu():
    conf, _ = parse({**OURS, "mtu": 1400, "auto_mtu": True})

    assert conf.mtu_bytes == 1400


def test_a_chained_plugin_for_bandwidth_is_left_out_and_its_work_done():
    # bug class 52: two users of one link's ingress
    limiter = {"type": "bandwidth", "ingressRate": 8000, "capabilities": {"bandwidth": True}}

    conf, cautions = parse(OURS, {"plugins": [OURS, limiter, {"type": "portmap"}]})

    assert [one.field for one in cautions] == ["10-terway.conflist.plugins[1]"]
    assert conf.bandwidth == Bandwidth(ingress=1000)
    plugins = json.loads(conf.conflist)["plugins"]
    assert [one["type"] for one in plugins] == ["terway", "portmap"]
    assert plugins[0]["capabilities"] == {"bandwidth": True}


@pytest.mark.parametrize("rate", [-1, 999, "8M", True])
def test_a_rate_of_a_chained_plugin_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match="bits per second"):
        parse(OURS, {"plugins": [OURS, {"type": "bandwidth", "egressRate": rate}]})


@pytest.mark.parametrize("mode", ["edt", "tc"])
def test_each_way_of_holding_limits_goes_together_with_priorities(mode):
    conf, cautions = parse({**OURS, "bandwidth_mode": mode, "enable_network_priority": True})

    assert (conf.bandwidth_mode.value, conf.has_network_priority) == (mode, True)
    assert cautions == ()


@pytest.mark.parametrize("kind", ["IPVlan", "datapathv2"])
def test_another_data_path_is_asked_for_in_any_case_of_letters(kind):
    conf, cautions = parse({**OURS, "eniip_virtual_type": kind})

    assert conf.virtual_type is VirtualType(kind.lower())
    assert cautions == ()


def test_keys_that_do_nothing_here_are_cautioned_about():
    asked = {"network_policy_provider": "ebpf", "disable_host_peer": False}
    _, cautions = parse({**OURS, **asked})

    assert [one.field for one in cautions] == ["10-terway.conf.network_policy_provider"]


@pytest.mark.parametrize(
    ("conf", "field"),
    [
        ({"type": "calico"}, "10-terway.conf.plugins"),
        ({**OURS, "mtu": 100}, "10-terway.conf.mtu"),
        ({**OURS, "mtuu": 1500}, "10-terway.conf.mtuu"),
        ({**OURS, "cniVersion": "2.0.0"}, "10-terway.conf.cniVersion"),
        ({**OURS, "name": "../x"}, "10-terway.conf.name"),
        ({**OURS, "eniip_virtual_type": "macvlan"}, "10-terway.conf.eniip_virtual_type"),
    ],
)
def test_what_cannot_be_right_is_refused_by_path(conf, field):
    with pytest.raises(UsageError) as caught:
        parse(conf)

    assert caught.value.field == field


def test_ours_must_be_the_first_plugin_of_a_list():
    with pytest.raises(UsageError, match="the first plugin"):
        parse(OURS, {"name": "x", "plugins": [PORTMAP, OURS]})


def test_without_any_cni_configuration_the_key_is_named():
    with pytest.raises(UsageError, match=r"10-terway\.conf is "):
        parse_cni_conf({})


def test_symmetric_routing_has_the_originals_defaults():
    assert parse({**OURS, "symmetric_routing": False})[0].symmetric_routing is None

    conf, _ = parse({**OURS, "symmetric_routing_config": {"mark": 16}})

    assert conf.symmetric_routing == parse(OURS)[0].symmetric_routing == SymmetricRouting()


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"symmetric_routing_config": {"mark": 32}}, "symmetric_routing_config.mark"),
        ({"symmetric_routing_config": {"backend": "ipset"}}, "symmetric_routing_config.backend"),
        ({"host_stack_cidrs": ["10.0.0.1/8"]}, "host_stack_cidrs[0]"),
        ({"capabilities": {"bandwidth": "yes"}}, "capabilities.bandwidth"),
        ({"runtimeConfig": {}}, "runtimeConfig"),
    ],
)
def test_what_contradicts_itself_is_refused(keys, field):
    with pytest.raises(UsageError) as caught:
        parse({**OURS, **keys})

    assert caught.value.field == f"10-terway.conf.{field}"


@pytest.mark.parametrize(
    ("plugins", "maps"),
    [
        ([OURS], False),
        ([{**OURS, "capabilities": {"portMappings": True}}], False),  # ours does nothing of it
        ([OURS, {"type": "portmap"}], False),  # a runtime does not tell it which
        ([OURS, PORTMAP], True),
    ],
)
def test_ports_are_mapped_by_a_plugin_after_ours_that_the_runtime_tells(plugins, maps):
    assert parse(OURS, {"plugins": plugins})[0].maps_ports is maps
