"""CNI requirements X: execution, environment, versions."""

from __future__ import annotations

import pytest

from terway.cni.version import SUPPORTED
from tests.support.cni import conf_of, valid

NO_NETNS = "/run/netns/absent"


async def test_X1_a_success_is_json_on_stdout_and_nothing_on_stderr(node, terwayd):
    ran = await node.run("ADD")

    assert ran.json["cniVersion"] == "1.1.0"
    assert ran.stderr == b""


async def test_X2_the_exit_code_is_0_for_success_and_not_0_for_failure(node, terwayd):
    assert (await node.run("ADD")).exit_code == 0
    assert (await node.run("ADD", b"nonsense")).exit_code != 0


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
async def test_X3_every_verb_prints_its_error_object_on_stdout(node, terwayd, verb):
    ran = await node.run(verb, b"{")

    assert ran.json["code"] == 6
    assert {"cniVersion", "code", "msg"} <= ran.json.keys()
    assert ran.stderr == b""


async def test_X4_the_nodes_own_network_namespace_is_refused_with_8(node, terwayd):
    ran = await node.run("ADD", CNI_NETNS="/proc/self/ns/net")

    assert ran.json["code"] == 8
    assert node.pool.attachments() == ()


async def test_X4_DEL_in_the_nodes_own_network_namespace_still_succeeds(node, terwayd):
    assert (await node.run("DEL", CNI_NETNS="/proc/self/ns/net")).exit_code == 0


@pytest.mark.parametrize("container_id", [".a", "-a", "a/b", "a b", "a\n", "_a", "é"])
@pytest.mark.parametrize("verb", ["ADD", "DEL"])
async def test_X5_a_container_id_that_is_none_is_refused_with_4(node, terwayd, verb, container_id):
    ran = await node.run(verb, CNI_CONTAINERID=container_id)

    assert ran.json["code"] == 4
    assert "CNI_CONTAINERID" in ran.json["msg"]


@pytest.mark.parametrize("container_id", ["a", "0", "A_b.c-d", "a" * 64])
async def test_X5_a_container_id_as_runtimes_make_them_is_taken(node, terwayd, container_id):
    assert (await node.run("ADD", CNI_CONTAINERID=container_id)).exit_code == 0


@pytest.mark.parametrize("ifname", [".", "..", "a/b", "a:b", "a b", "sixteen-letters."])
async def test_X6_a_name_that_no_link_can_have_is_refused_with_4(node, terwayd, ifname):
    ran = await node.run("ADD", CNI_IFNAME=ifname)

    assert ran.json["code"] == 4
    assert "CNI_IFNAME" in ran.json["msg"]


@pytest.mark.parametrize("args", ["novalue", "=x", "A=1;B"])
async def test_X7_cni_args_that_are_no_pairs_are_refused_with_4(node, terwayd, args):
    ran = await node.run("ADD", CNI_ARGS=args)

    assert ran.json["code"] == 4
    assert "CNI_ARGS" in ran.json["msg"]


REQUIRED = [
    *(("ADD", name) for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")),
    *(("CHECK", name) for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")),
    *(("DEL", name) for name in ("CNI_CONTAINERID", "CNI_IFNAME")),
    ("GC", "CNI_PATH"),
    ("STATUS", "CNI_PATH"),
]


@pytest.mark.parametrize(("verb", "name"), REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
async def test_X8_a_missing_variable_is_named_with_4(node, terwayd, verb, name, value):
    ran = await node.run(verb, conf_of(**valid()), **{name: value})

    assert ran.json["code"] == 4
    assert name in ran.json["msg"]


async def test_X7_all_missing_variables_are_named(node, terwayd):
    ran = await node.run("ADD", CNI_CONTAINERID=None, CNI_NETNS=None, CNI_IFNAME=None)

    for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"):
        assert name in ran.json["msg"]


async def test_X8_variables_that_a_verb_does_not_need_may_be_missing(node, terwayd):
    nothing = {"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None}

    assert (await node.run("DEL", CNI_NETNS=None, CNI_PATH=None)).exit_code == 0
    assert (await node.run("GC", conf_of(**valid()), **nothing)).exit_code == 0
    assert (await node.run("STATUS", **nothing)).exit_code == 0
    assert (await node.run("VERSION", CNI_PATH=None, **nothing)).exit_code == 0


@pytest.mark.parametrize("verb", ["FOO", "add", "ADD "])
async def test_X9_an_unknown_command_is_refused_with_4(node, terwayd, verb):
    ran = await node.run(verb)

    assert ran.json["code"] == 4
    assert "CNI_COMMAND" in ran.json["msg"]


async def test_X9_without_a_command_it_says_on_stderr_what_it_is(node):
    ran = await node.run("", b"", CNI_COMMAND=None)

    assert (ran.exit_code, ran.stdout) == (0, b"")
    assert b"CNI protocol versions supported: " + ", ".join(SUPPORTED).encode() in ran.stderr


async def test_X10_args_of_the_configuration_win_over_cni_args(node, terwayd):
    named = {"K8S_POD_NAMESPACE": "new", "K8S_POD_NAME": "pod"}
    await node.run(
        "ADD",
        conf_of(args={"cni": named}),
        CNI_ARGS="K8S_POD_NAMESPACE=old;K8S_POD_NAME=old;IgnoreUnknown=1",
    )

    (attachment,) = node.pool.attachments()
    assert str(attachment.pod) == "new/pod"


@pytest.mark.parametrize("version", [*SUPPORTED, "0.2.0", "9.9.9"])
async def test_X11_VERSION_repeats_the_version_and_lists_the_supported(node, terwayd, version):
    ran = await node.run("VERSION", {"cniVersion": version})

    assert ran.exit_code == 0
    assert ran.json == {"cniVersion": version, "supportedVersions": list(SUPPORTED)}


@pytest.mark.parametrize("stdin", [b"", b"nonsense", b'{"name": 7}', b'{"cniVersion": 7}'])
async def test_X11_VERSION_needs_no_network_configuration(node, terwayd, stdin):
    ran = await node.run("VERSION", stdin)

    assert ran.json["supportedVersions"] == list(SUPPORTED)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "1.2.0", "2.0.0"])
@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
async def test_X12_a_version_that_is_not_supported_is_refused_with_1(node, terwayd, verb, version):
    ran = await node.run(verb, conf_of(version, **valid()))

    assert ran.json["code"] == 1
    assert repr(version) in ran.json["msg"]


TOO_OLD = [
    *(("CHECK", version) for version in ("0.3.0", "0.3.1")),
    *((verb, version) for verb in ("GC", "STATUS") for version in SUPPORTED[:-1]),
]


@pytest.mark.parametrize(("verb", "version"), TOO_OLD)
async def test_X12_a_verb_that_the_version_does_not_have_is_refused_with_1(
    node, terwayd, verb, version
):
    ran = await node.run(verb, conf_of(version, **valid()))

    assert (ran.json["code"], ran.json["cniVersion"]) == (1, version)


async def test_X12_a_configuration_without_a_version_is_0_1_0(node, terwayd):
    assert (await node.run("ADD", b'{"name":"n","type":"terway"}')).json["code"] == 1
