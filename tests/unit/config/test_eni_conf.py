"""`eni_conf` as people write it is understood; what cannot be right is refused by path."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from terway.config.agent_config import parse_agent_config
from terway.config.choices import ENISelection, IPAMType, VSwitchSelection
from terway.config.eni_conf import KEYS, Waits, read_eni_conf
from terway.config.findings import ConfigError
from terway.model.address import IPStack
from terway.model.errors import UsageError
from terway.model.ids import ZoneId

# The example of the original's documentation, with every key that a node's agent follows.
DOCUMENTED = {
    "version": "1",
    "access_key": "AK",
    "access_secret": "SK",
    "region_id": "cn-hangzhou",
    "service_cidr": "172.21.0.0/20,fc00::/112",
    "vswitches": {"cn-hangzhou-i": ["vsw-1", "vsw-2"]},
    "eni_tags": {"team": "net"},
    "eni_tag_filter": {"pool": "a"},
    "eni_tag_block_list": [{"key": "owner", "value": "db"}],
    "max_pool_size": 5,
    "min_pool_size": 2,
    "max_eni": 3,
    "eni_cap_ratio": 0.5,
    "eni_cap_shift": -1,
    "security_group": "sg-1",
    "security_groups": ["sg-2", "sg-1"],
    "vswitch_selection_policy": "most",
    "eni_selection_policy": "least_ips",
    "ip_stack": "dual",
    "ip_pool_sync_period": "1m30s",
    "idle_ip_reclaim_after": "1h",
    "idle_ip_reclaim_interval": "5m",
    "idle_ip_reclaim_batch_size": 3,
    "resource_group_id": "rg-1",
    "enable_patch_pod_ips": False,
}


def read(**keys):
    return read_eni_conf(keys)


def test_the_documented_example_is_read_whole_and_silently():
    conf, cautions = read_eni_conf(DOCUMENTED)

    assert cautions == ()
    assert conf.vswitches == {"cn-hangzhou-i": ("vsw-1", "vsw-2")}
    assert conf.security_group_ids == ("sg-1", "sg-2")
    assert (conf.min_pool_size, conf.max_pool_size, conf.max_eni) == (2, 5, 3)
    assert (conf.eni_cap_ratio, conf.eni_cap_shift) == (0.5, -1)
    assert conf.vswitch_selection is VSwitchSelection.MOST
    assert conf.eni_selection is ENISelection.LEAST_IPS
    assert conf.ip_stack is IPStack.DUAL
    assert str(conf.service_cidr.v6) == "fc00::/112"
    assert conf.pool_sync_s == 90.0
    assert conf.reclaim is not None
    assert (conf.reclaim.after_s, conf.reclaim.interval_s, conf.reclaim.batch) == (3600, 300, 3)
    assert not conf.patches_pod_ips


def test_an_empty_object_means_the_defaults():
    conf, cautions = read()

    assert cautions == ()
    assert conf.ip_stack is IPStack.IPV4
    assert (conf.min_pool_size, conf.max_pool_size) == (0, 0)
    assert conf.vswitch_selection is VSwitchSelection.RANDOM
    assert conf.pool_sync_s == 120.0
    assert conf.patches_pod_ips


def test_null_is_the_default_too():
    assert read(max_pool_size=None, ip_stack=None) == read()


def test_enis_of_other_controllers_are_excluded_always():
    conf, _ = read(eni_tag_block_list=[{"key": "owner", "value": "db"}])

    assert ("creator", "alibabacloud-erdma-controller") in conf.eni_tag_blocklist
    assert ("terway.alibabacloud.com/excluded", "true") in conf.eni_tag_blocklist
    assert ("owner", "db") in conf.eni_tag_blocklist


@pytest.mark.parametrize(
    ("keys", "field", "says"),
    [
        ({"max_pool_sizes": 1}, "eni_conf.max_pool_sizes", "did you mean max_pool_size"),
        ({"zzz": 1}, "eni_conf.zzz", "remove it"),
        ({"max_pool_size": "5"}, "eni_conf.max_pool_size", 'is "5": must be a whole number'),
        ({"max_pool_size": True}, "eni_conf.max_pool_size", "must be a whole number"),
        ({"max_pool_size": -1}, "eni_conf.max_pool_size", "0 or more"),
        ({"min_pool_size": 6, "max_pool_size": 5}, "eni_conf.min_pool_size", "at most max_pool"),
        ({"ip_stack": "v4"}, "eni_conf.ip_stack", "one of ipv4, ipv6, dual"),
        ({"vswitch_selection_policy": "best"}, "eni_conf.vswitch_selection_policy", "random, "),
        ({"ip_pool_sync_period": "2 minutes"}, "eni_conf.ip_pool_sync_period", "120s"),
        ({"eni_cap_ratio": 0}, "eni_conf.eni_cap_ratio", "above 0"),
        ({"service_cidr": "172.21.0.1/20"}, "eni_conf.service_cidr", "host bits"),
        ({"vswitches": ["vsw-1"]}, "eni_conf.vswitches", "must be an object"),
        ({"vswitches": {"a": ["sw-1"]}}, "eni_conf.vswitches.a[0]", "vsw-"),
        ({"vswitches": {"a": [1]}}, "eni_conf.vswitches.a[0]", "the id of a vSwitch"),
        ({"security_groups": [f"sg-{n}" for n in range(11)]}, "eni_conf.security_groups", "11"),
        ({"eni_tag_block_list": [{"value": "x"}]}, "eni_conf.eni_tag_block_list[0].key", "name"),
        ({"access_key": "AK"}, "eni_conf.access_secret", "because access_key is"),
        ({"access_secret": "SK"}, "eni_conf.access_key", "because access_secret is"),
    ],
)
def test_what_cannot_be_right_is_refused_with_path_value_and_remedy(keys, field, says):
    with pytest.raises(UsageError) as caught:
        read(**keys)

    assert caught.value.field == field
    assert str(caught.value).startswith(field)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"allow_eip_rob": "true"}, "eni_conf.allow_eip_rob"),
    ],
)
def test_keys_that_do_nothing_here_are_accepted_with_a_caution(keys, field):
    _, cautions = read(**keys)

    assert [caution.field for caution in cautions] == [field]


def test_keys_that_ask_for_nothing_need_no_caution():
    assert read(enable_erdma=False, ipam_type="", ipv4_prefix_count=0)[1] == ()


def test_every_key_of_the_original_is_known():
    original = (
        "version access_key access_secret credential_path region_id service_cidr vswitches "
        "eni_tags eni_tag_filter eni_tag_block_list max_pool_size min_pool_size ip_warm_up_size "
        "idle_ip_reclaim_after idle_ip_reclaim_interval idle_ip_reclaim_batch_size "
        "idle_ip_reclaim_jitter_factor min_eni max_eni eni_cap_ratio eni_cap_shift prefix "
        "security_group security_groups vswitch_selection_policy eni_selection_policy ip_stack "
        "enable_eni_trunking enable_erdma custom_stateful_workload_kinds ipam_type "
        "enable_ip_prefix ipv4_prefix_count ipv6_prefix_count ip_pool_sync_period "
        "backoff_override rate_limit extra_routes disable_device_plugin kube_client_qps "
        "kube_client_burst resource_group_id enable_patch_pod_ips enable_eip_pool "
        "enable_eip_migrate allow_eip_rob"
    )
    assert set(original.split()) <= {key.name for key in KEYS}


def test_a_secret_is_in_nothing_that_is_printed():
    conf, _ = read_eni_conf(DOCUMENTED)

    assert "SK" not in repr(conf)


CNI = {"10-terway.conf": '{"type": "terway"}'}


def test_a_nodes_own_configuration_is_merged_over_the_common_one():
    files = {"eni_conf": json.dumps(DOCUMENTED), **CNI}
    patch = {"max_pool_size": 9, "min_pool_size": None, "vswitches": {"cn-hangzhou-j": ["vsw-9"]}}

    config = parse_agent_config(files, patch=json.dumps(patch))

    assert (config.eni.min_pool_size, config.eni.max_pool_size) == (0, 9)
    assert config.eni.vswitches[ZoneId("cn-hangzhou-j")] == ("vsw-9",)
    assert config.eni.vswitches[ZoneId("cn-hangzhou-i")] == ("vsw-1", "vsw-2")


def test_a_patch_that_is_no_json_names_itself():
    with pytest.raises(UsageError, match="of the node's own ConfigMap is not JSON"):
        parse_agent_config({"eni_conf": "{}", **CNI}, patch="{")


def test_a_missing_eni_conf_is_refused():
    with pytest.raises(UsageError, match="eni-config needs this key"):
        parse_agent_config(CNI)


@pytest.mark.parametrize(
    ("text", "is_wanted"),
    [("", True), ("false", True), ("0", True), ("true", False), ("1", False)],
)
def test_network_policy_is_enforced_unless_it_is_switched_off(text, is_wanted):
    config = parse_agent_config({"eni_conf": "{}", **CNI, "disable_network_policy": text})

    assert config.wants_policy is is_wanted
    assert config.warnings == ()


def test_everything_that_is_wrong_is_said_at_once():
    files = {
        "eni_conf": json.dumps({"max_pool": 1, "min_pool_size": -1, "ip_stack": "v4"}),
        "10-terway.conf": json.dumps({"type": "terway", "mtu": 100, "debugg": True}),
    }

    with pytest.raises(ConfigError) as caught:
        parse_agent_config(files)

    assert [one.field for one in caught.value.refusals] == [
        "eni_conf.max_pool",
        "eni_conf.min_pool_size",
        "eni_conf.ip_stack",
        "10-terway.conf.mtu",
        "10-terway.conf.debugg",
    ]


@pytest.mark.parametrize(
    ("keys", "field", "says"),
    [
        ({"min_eni": 3, "max_eni": 2}, "eni_conf.min_eni", "at most max_eni, 2"),
        ({"ipv4_prefix_count": 2}, "eni_conf.ipv4_prefix_count", "enable_ip_prefix"),
        (
            {"enable_ip_prefix": True, "ipv6_prefix_count": 1},
            "eni_conf.ipv6_prefix_count",
            "ip_stack is ipv4",
        ),
        (
            {"enable_ip_prefix": True, "ipv4_prefix_count": 1, "ip_stack": "ipv6"},
            "eni_conf.ipv4_prefix_count",
            "ip_stack is ipv6",
        ),
        ({"extra_routes": [{"dst": "fd00::/8"}]}, "eni_conf.extra_routes[0].dst", "no IPv6"),
        ({"extra_routes": [{}]}, "eni_conf.extra_routes[0].dst", "where to"),
        (
            {"eni_tag_filter": {"a": "b"}, "eni_tag_block_list": [{"key": "a", "value": "b"}]},
            "eni_conf.eni_tag_block_list[0]",
            "no ENI would be Terway's",
        ),
        ({"service_cidr": "10.0.0.0/16,10.1.0.0/16"}, "eni_conf.service_cidr", "two ranges"),
        ({"rate_limit": {"X": 0}}, "eni_conf.rate_limit.X", "1 or more"),
        ({"backoff_override": {"a": {"steps": 0}}}, "eni_conf.backoff_override.a.steps", "1 or"),
        (
            {"idle_ip_reclaim_jitter_factor": "1.5"},
            "eni_conf.idle_ip_reclaim_jitter_factor",
            "1 at most",
        ),
    ],
)
def test_combinations_that_contradict_each_other_are_refused(keys, field, says):
    with pytest.raises(ConfigError) as caught:
        read(**keys)

    assert caught.value.field == field
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"min_eni": 1, "min_eni": 2}', "min_eni is there twice"),
        ('{"min_eni": 1,}', "line 1 column 15"),
        ('{"eni_cap_ratio": NaN}', "NaN is no number"),
        ('{"eni_cap_ratio": 1e999}', "above 0"),
        ("[]", "a JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused_where_it_is(text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        parse_agent_config({"eni_conf": text, **CNI})

    assert caught.value.field.startswith("eni_conf")


def test_every_key_has_its_place_in_the_value():
    conf, _ = read(
        ip_warm_up_size=4,
        enable_ip_prefix=True,
        ipv4_prefix_count=2,
        enable_erdma=True,
        rate_limit={"AttachNetworkInterface": 10},
        backoff_override={"eni_create": {"duration": 2000000000, "factor": 1.5, "cap": "1m"}},
        extra_routes=[{"dst": "10.0.0.0/8"}],
        kube_client_qps=5,
        kube_client_burst=10,
        custom_stateful_workload_kinds=["CloneSet"],
        ipam_type="preferCRD",
        idle_ip_reclaim_after="1h",
        idle_ip_reclaim_jitter_factor="0.2",
        disable_device_plugin=True,
    )

    assert (conf.warm_up_size, conf.uses_prefixes, conf.ipv4_prefix_count) == (4, True, 2)
    assert conf.uses_erdma
    assert conf.rate_limits_per_min == {"AttachNetworkInterface": 10}
    assert conf.waits == {"eni_create": Waits(duration_s=2.0, factor=1.5, cap_s=60.0)}
    assert conf.extra_routes == (ip_network("10.0.0.0/8"),)
    assert (conf.kube_client_qps, conf.kube_client_burst) == (5.0, 10)
    assert conf.custom_stateful_kinds == ("CloneSet",)
    assert conf.ipam_type is IPAMType.PREFER_CRD
    assert conf.reclaim is not None
    assert conf.reclaim.jitter == 0.2
    assert not conf.registers_devices


def test_a_misspelt_key_of_the_config_map_is_said_and_a_strangers_is_not():
    files = {"eni_conf": "{}", **CNI, "disable_network_polcy": "true", "note": "x"}

    config = parse_agent_config(files)

    assert "did you mean disable_network_policy?" in str(config.warnings[0])
    assert "note" not in [one.field for one in config.warnings]
