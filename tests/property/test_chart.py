"""Whatever the schema allows, the programs understand what the chart makes of it, wholly."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from terway.cli.chart.render import find_chart, read_values, render
from terway.cli.chart.settings import overlaid
from terway.cli.chart.values import values_schema
from terway.config.agent_config import parse_agent_config
from terway.config.choices import IPAMType
from terway.controlplane.config import parse_config
from terway.model.errors import UsageError
from tests.support.json_schema import is_valid

CHART = find_chart()
DEFAULTS = read_values([], [], chart=CHART)
SCHEMA: Any = values_schema()["properties"]


def words_of(name: str) -> st.SearchStrategy[str]:
    (said, _null) = SCHEMA[name]["anyOf"]
    return st.sampled_from(said["enum"])


SIZES = st.integers(0, 300)
VALUES = st.fixed_dictionaries(
    {
        "clusterID": st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        "vpcID": st.just("vpc-1"),
        "regionID": st.sampled_from(["", "cn-hangzhou", "eu-central-1"]),
        "vSwitches": st.dictionaries(
            st.sampled_from(["cn-hangzhou-h", "cn-hangzhou-i", "eu-central-1a"]),
            st.lists(st.sampled_from(["vsw-1", "vsw-2"]), unique=True),
        ),
        "vSwitchSelectionPolicy": words_of("vSwitchSelectionPolicy"),
        "securityGroupIDs": st.lists(st.integers(0, 20).map("sg-{}".format), max_size=10),
        "serviceCIDR": st.sampled_from(
            ["", "172.16.0.0/16", "fd00::/112", "10.0.0.0/8,fd00::/112"]
        ),
        "ipStack": words_of("ipStack"),
        "mode": words_of("mode"),
        "datapath": words_of("datapath"),
        "networkPolicy": st.booleans(),
        "kubeProxyReplacement": words_of("kubeProxyReplacement"),
        "trunk": st.booleans(),
        "centralizedIPAM": st.booleans(),
        "pool": st.fixed_dictionaries({"minSize": SIZES, "maxSize": SIZES, "warmUpSize": SIZES}),
        "chainedPlugins": st.sampled_from(
            [[], [{"type": "portmap", "capabilities": {"portMappings": True}}]]
        ),
        "controlPlane": st.fixed_dictionaries(
            {"enabled": st.booleans(), "loadBalancers": st.booleans()}
        ),
        "credentialsSecret": st.sampled_from(["", "cloud-key"]),
    }
)


def config_map(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    (found,) = (one for one in objects if one["kind"] == "ConfigMap" and named(one) == name)
    data: dict[str, str] = found["data"]
    return data


def named(one: dict[str, Any]) -> str:
    return str(one["metadata"]["name"])


def why_not(values: dict[str, Any]) -> str:
    """Return the value that the chart refuses together with others."""
    if values["pool"]["minSize"] > values["pool"]["maxSize"]:
        return "pool.minSize is above pool.maxSize"
    if values["centralizedIPAM"] and not values["controlPlane"]["enabled"]:
        return "centralizedIPAM needs the control plane"
    if values["mode"] == "exclusive" and values["datapath"] != "veth":
        return "datapath is for shared ENIs"
    return ""


@settings(max_examples=60)
@given(VALUES)
@example({"mode": "exclusive", "clusterID": "1", "vpcID": "vpc-1"})
@example({"clusterID": "null", "vpcID": "vpc-1", "controlPlane": {"loadBalancers": True}})
def test_agent_and_control_plane_understand_what_the_chart_writes(changes):
    values = overlaid(DEFAULTS, changes)
    assume(is_valid(values_schema(), values))

    if reason := why_not(values):
        with pytest.raises(UsageError, match=reason):
            render(values, chart=CHART)
        return
    objects = list(yaml.safe_load_all(render(values, chart=CHART)))

    conf = parse_agent_config(config_map(objects, "eni-config"))
    assert not conf.warnings
    assert (conf.eni.ipam_type is IPAMType.CRD) is values["centralizedIPAM"]
    assert conf.wants_policy is values["networkPolicy"]
    assert ("terway-controlplane" in map(named, objects)) or not values["controlPlane"]["enabled"]
    if values["controlPlane"]["enabled"]:
        text = config_map(objects, "terway-controlplane")["ctrl-config.yaml"]
        config, cautions = parse_config(text)
        assert not cautions
        assert config.cluster_id == values["clusterID"]
        assert ("service" in config.controllers) is values["controlPlane"]["loadBalancers"]
        assert config.has_trunk == conf.eni.uses_trunk
