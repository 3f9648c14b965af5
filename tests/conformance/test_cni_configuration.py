"""CNI requirements C: the network configuration. The real plugin before a terwayd with fakes."""

from __future__ import annotations

import json

import pytest

from terway.cni.version import SUPPORTED
from terway.config.agent_config import parse_agent_config
from terway.model.errors import UsageError
from tests.support.cni import conf_of

pytestmark = pytest.mark.usefixtures("terwayd")


@pytest.mark.parametrize("version", ["one", "1.1", "v1.1.0", "1.1.0/x"])
async def test_C1_a_cni_version_that_is_no_semver_is_refused_with_6(node, version):
    ran = await node.run("ADD", conf_of(version))

    assert (ran.exit_code, ran.json["code"]) == (1, 6)
    assert repr(version) in ran.json["msg"]


@pytest.mark.parametrize("name", [".hidden", "-x", "a/b", "a b", "é"])
async def test_C2_a_name_that_could_be_a_path_is_refused_with_7(node, name):
    ran = await node.run("ADD", conf_of() | {"name": name})

    assert ran.json["code"] == 7
    assert "name" in ran.json["msg"]


async def test_C2_a_missing_name_is_refused_with_7(node):
    conf = conf_of()
    del conf["name"]

    assert (await node.run("ADD", conf)).json["code"] == 7


@pytest.mark.parametrize("conf", [{"type": "../bin/sh"}, {"ipam": {"type": "/bin/sh"}}])
async def test_C7_a_type_with_a_path_separator_is_refused_with_7(node, conf):
    assert (await node.run("ADD", conf_of() | conf)).json["code"] == 7


async def test_C8_keys_of_others_are_passed_over(node):
    conf = conf_of(vendor={"deep": [1, None, {"x": "y"}]}, ipMasq=True, dns={"domain": "x"})

    assert (await node.run("ADD", conf)).exit_code == 0


@pytest.mark.parametrize("args", [{}, {"cni": {"x": 1}}, {"labels": [{"key": "a", "value": "b"}]}])
async def test_C9_the_content_of_args_can_be_ignored(node, args):
    assert (await node.run("ADD", conf_of(args=args))).exit_code == 0


async def test_C9_a_value_of_the_wrong_type_is_refused_with_its_path(node):
    ran = await node.run("ADD", conf_of(mtu="big"))

    assert ran.json["code"] == 7
    assert "$.mtu" in ran.json["msg"]


async def test_C11_dns_and_ip_masq_are_not_consumed_and_not_claimed(node):
    result = (await node.run("ADD", conf_of(ipMasq=True, dns={"nameservers": ["1.1.1.1"]}))).json

    assert result["dns"] == {}


@pytest.mark.parametrize("version", SUPPORTED)
async def test_C13_one_configuration_works_in_every_version(node, version):
    conf = conf_of(version, mtu=1400, capabilities={"portMappings": True}, runtimeConfig={})

    assert (await node.run("ADD", conf)).exit_code == 0
    assert (await node.run("DEL", conf)).exit_code == 0


async def test_a_prev_result_of_null_is_none(node):
    conf = json.dumps(conf_of() | {"prevResult": None}).encode()

    assert len((await node.run("ADD", conf)).json["interfaces"]) == 2


async def test_a_prev_result_with_a_bad_address_is_refused_with_7(node):
    conf = conf_of(prevResult={"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.300/24"}]})

    assert (await node.run("ADD", conf)).json["code"] == 7


@pytest.mark.parametrize(
    "key", ["runtimeConfig", "args", "cni.dev/valid-attachments", "prevResult"]
)
async def test_C10_keys_that_only_a_runtime_may_set_are_refused_in_eni_config(key):
    conf = {"type": "terway", "name": "terway", key: {}}
    files = {"eni_conf": '{"version": "1"}', "10-terway.conf": json.dumps(conf)}

    with pytest.raises(UsageError) as caught:
        parse_agent_config(files)

    assert caught.value.field == f"10-terway.conf.{key}"
    assert "is {}: only a container runtime may set this key" in str(caught.value)
    assert "remove it" in str(caught.value)
