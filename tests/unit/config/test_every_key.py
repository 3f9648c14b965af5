"""Every key of eni-config does something that somebody reads, or is cautioned about."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import terway.agent
from terway.config import keys_cni
from terway.config.agent_config import FILES, parse_agent_config
from terway.config.choices import BandwidthMode, Denied, VirtualType, VLANStrip
from terway.config.cni_conf import parse_cni_conf
from terway.config.declare import Effect, Key
from terway.config.eni_conf import KEYS, EniConf, read_eni_conf
from terway.config.findings import Report
from terway.config.keys_map import CONF, CONFLIST, ENI_CONF

AGENT = "\n".join(one.read_text() for one in Path(terway.agent.__path__[0]).glob("*.py"))

# A value of each key that differs from its default, with the keys that it cannot be without.
SAMPLES: dict[str, dict[str, Any]] = {
    "access_key": {"access_key": "AK", "access_secret": "SK"},
    "access_secret": {"access_key": "AK", "access_secret": "SK"},
    "region_id": {"region_id": "cn-hangzhou"},
    "vswitches": {"vswitches": {"cn-hangzhou-i": ["vsw-1"]}},
    "security_group": {"security_group": "sg-1"},
    "security_groups": {"security_groups": ["sg-1"]},
    "eni_tags": {"eni_tags": {"a": "b"}},
    "eni_tag_filter": {"eni_tag_filter": {"a": "b"}},
    "eni_tag_block_list": {"eni_tag_block_list": [{"key": "a", "value": "b"}]},
    "min_pool_size": {"min_pool_size": 1},
    "max_pool_size": {"max_pool_size": 1},
    "min_eni": {"min_eni": 1},
    "max_eni": {"max_eni": 1},
    "eni_cap_ratio": {"eni_cap_ratio": 0.5},
    "eni_cap_shift": {"eni_cap_shift": -1},
    "vswitch_selection_policy": {"vswitch_selection_policy": "most"},
    "eni_selection_policy": {"eni_selection_policy": "least_ips"},
    "ip_stack": {"ip_stack": "dual"},
    "ip_pool_sync_period": {"ip_pool_sync_period": "1m"},
    "ip_cooldown_period": {"ip_cooldown_period": "1m"},
    "idle_ip_reclaim_after": {"idle_ip_reclaim_after": "1h"},
    "idle_ip_reclaim_interval": {
        "idle_ip_reclaim_after": "1h",
        "idle_ip_reclaim_interval": "7m",
    },
    "idle_ip_reclaim_batch_size": {
        "idle_ip_reclaim_after": "1h",
        "idle_ip_reclaim_batch_size": 7,
    },
    "resource_group_id": {"resource_group_id": "rg-1"},
    "ipam_type": {"ipam_type": "crd"},
    "enable_patch_pod_ips": {"enable_patch_pod_ips": False},
    "credential_path": {"credential_path": "/var/addon/token-config"},
    "flow_log": {"flow_log": "denied"},
    "flow_log_sample": {"flow_log": "all", "flow_log_sample": 7},
    "ebpf_max_connections": {"ebpf_max_connections": 65536},
    "ebpf_policy_entries": {"ebpf_policy_entries": 65536},
    "ebpf_service_entries": {"ebpf_service_entries": 65536},
    "kube_proxy_replacement": {"kube_proxy_replacement": "off"},
    "kube_client_qps": {"kube_client_qps": 5},
    "kube_client_burst": {"kube_client_qps": 5, "kube_client_burst": 9},
    "service_cidr": {"service_cidr": "172.21.0.0/20"},
    "extra_routes": {"extra_routes": [{"dst": "10.0.0.0/8"}]},
    "rate_limit": {"rate_limit": {"AttachNetworkInterface": 10}},
    "enable_erdma": {"enable_erdma": True},
    "enable_eni_trunking": {"enable_eni_trunking": True},
    "disable_device_plugin": {"disable_device_plugin": True},
    "ip_warm_up_size": {"ip_warm_up_size": 1},
    "enable_ip_prefix": {"enable_ip_prefix": True},
    "ipv4_prefix_count": {"ipv4_prefix_count": 1, "enable_ip_prefix": True},
    "ipv6_prefix_count": {
        "ipv6_prefix_count": 1,
        "enable_ip_prefix": True,
        "ip_stack": "ipv6",
    },
    "idle_ip_reclaim_jitter_factor": {
        "idle_ip_reclaim_after": "1h",
        "idle_ip_reclaim_jitter_factor": "0.5",
    },
}


def names(keys: tuple[Key[object], ...], *effects: Effect) -> list[str]:
    return [key.name for key in keys if key.effect in effects]


WITHOUT_EFFECT = (Effect.NONE, Effect.LEGACY)
# A value of each kind that asks for something.
ASKS: dict[str, Any] = {
    "backoff_override": {"eni_create": {"duration": "1s"}},
    "custom_stateful_workload_kinds": ["CloneSet"],
    "network_policy_provider": "ebpf",
    "bandwidth_mode": "edt",
}


def sample(key: Key[object]) -> Any:
    if key.name in ASKS:
        return ASKS[key.name]
    return next(
        value
        for value in (True, 1, "x")
        if key.kind.read(value, "", Report()) not in (None, key.default)
    )


def test_there_is_a_sample_of_each_effective_key():
    assert set(SAMPLES) == set(names(KEYS, Effect.YES))


@pytest.mark.parametrize("key", names(KEYS, Effect.YES))
def test_an_effective_key_changes_a_value_that_the_agent_reads(key):
    others = {name: value for name, value in SAMPLES[key].items() if name != key}
    if "access" in key:
        others = {}  # half of a key is refused
    without, _ = read_eni_conf(others)
    with_key, cautions = read_eni_conf(SAMPLES[key])

    names = [one.name for one in fields(EniConf)]
    changed = [name for name in names if getattr(with_key, name) != getattr(without, name)]
    assert changed
    assert all(re.search(rf"\b(conf|eni)\.{name}\b", AGENT) for name in changed)
    assert cautions == ()


@pytest.mark.parametrize("name", names(KEYS, *WITHOUT_EFFECT))
def test_every_other_key_is_cautioned_about(name):
    key = next(key for key in KEYS if key.name == name)
    asked = {name: sample(key)}

    _, cautions = read_eni_conf(asked)

    assert f"eni_conf.{name}" in [one.field for one in cautions]


def test_nothing_is_passed_over_but_a_comment():
    assert names(KEYS, Effect.COMMENT) == ["version"]


@pytest.mark.parametrize("name", names(keys_cni.KEYS, *WITHOUT_EFFECT))
def test_every_key_of_the_cni_configuration_that_does_nothing_is_cautioned_about(name):
    key = next(key for key in keys_cni.KEYS if key.name == name)
    conf = json.dumps({"type": "terway", name: sample(key)})

    _, cautions = parse_cni_conf({CONF: conf})

    assert [one.field for one in cautions] == [f"{CONF}.{name}"]


def test_the_other_keys_of_the_cni_configuration_do_something_or_are_cautioned_about():
    asked = {
        "cniVersion": ("1.0.0", lambda conf: conf.version == "1.0.0"),
        "name": ("mine", lambda conf: conf.name == "mine"),
        "type": ("terway", lambda conf: b'"terway"' in conf.conflist),
        "capabilities": ({"mac": True}, lambda conf: b'"mac"' in conf.conflist),
        "mtu": (8500, lambda conf: conf.mtu_bytes == 8500),
        "auto_mtu": (True, lambda conf: conf.mtu_bytes is None),
        "eniip_virtual_type": (
            "datapathv2",
            lambda conf: conf.virtual_type is VirtualType.DATAPATHV2,
        ),
        "host_stack_cidrs": (
            ["169.254.20.10/32"],
            lambda conf: conf.host_stack_cidrs == (ip_network("169.254.20.10/32"),),
        ),
        "bandwidth_mode": ("tc", lambda conf: conf.bandwidth_mode is BandwidthMode.TC),
        "symmetric_routing": (False, lambda conf: conf.symmetric_routing is None),
        "symmetric_routing_config": ({"mark": 16}, lambda conf: conf.symmetric_routing.mark == 16),
        "enable_network_priority": (True, lambda conf: conf.has_network_priority),
        "network_policy_denied": ("reject", lambda conf: conf.denied is Denied.REJECT),
        "vlan_strip_type": ("vlan", lambda conf: conf.vlan_strip is VLANStrip.VLAN),
        "disable_host_peer": (True, lambda conf: not conf.has_host_peer),
    }
    assert set(asked) == set(names(keys_cni.KEYS, Effect.YES))
    for key, (value, is_done) in asked.items():
        conf, cautions = parse_cni_conf({CONF: json.dumps({"type": "terway", key: value})})
        assert is_done(conf)
        assert cautions == ()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("in_cluster_loadbalance", "true"),
        ("felix_relay_service", "typha"),
    ],
)
def test_a_file_that_asks_for_what_is_not_there_is_cautioned_about(key, text):
    quiet = {ENI_CONF: "{}", CONF: '{"type": "terway"}', "disable_network_policy": "true"}
    assert parse_agent_config(quiet).warnings == ()

    config = parse_agent_config(quiet | {key: text})

    assert [one.field for one in config.warnings] == [key]
    assert {
        ENI_CONF,
        CONF,
        CONFLIST,
        "disable_network_policy",
        "in_cluster_loadbalance",
        "felix_relay_service",
    } == set(FILES)
