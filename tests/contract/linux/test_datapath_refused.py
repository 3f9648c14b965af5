"""A data path that a node cannot have is named in one line, and its pods have policy routing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from terway.agent.ebpf.choice import choose_datapath
from terway.config.cni_conf import CniConf, parse_cni_conf
from terway.linux.ebpf.opening import open_datapath, words_of_refusal
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.programs import open_object
from terway.linux.kernel import open_kernel
from terway.model.errors import UsageError, VpcError
from terway.model.interface import Mode
from tests.support.datapath_node import SIZES

pytestmark = pytest.mark.root

# Reads beyond what it knows to be there.
CARELESS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int careless(struct __sk_buff *skb)
{
	return *(char *)(long)skb->data;
}
char LICENSE[] SEC("license") = "GPL";
"""


def conf(**ours: object) -> CniConf:
    found, _ = parse_cni_conf({"10-terway.conf": json.dumps({"type": "terway", **ours})})
    return found


@pytest.fixture
def pins(tmp_path):
    return Pins(Path("/sys/fs/bpf") / tmp_path.name)


def test_a_program_that_the_verifier_refuses_is_told_with_its_last_words(tmp_path, pins):
    source, built = tmp_path / "careless.bpf.c", tmp_path / "careless.bpf.o"
    source.write_text(CARELESS)
    flags = ["-O2", "-g", "-target", "bpf", f"-I/usr/include/{os.uname().machine}-linux-gnu"]
    subprocess.run(["clang", *flags, "-c", source, "-o", built], check=True)

    with pytest.raises(VpcError) as refused:
        open_object(pins, path=built)

    said = words_of_refusal(str(refused.value))
    assert said.startswith("the kernel's verifier refuses program 'careless': R")
    assert "\n" not in said


def test_a_helper_that_the_kernel_lacks_is_named():
    log = "libbpf: prog 'from_pod': BPF program load failed: Invalid argument\n"
    log += "12: (85) call bpf_redirect_peer#155\nunknown func bpf_redirect_peer#155\nprocessed 12"

    assert (
        words_of_refusal(log)
        == "the kernel lacks bpf_redirect_peer, which program 'from_pod' needs"
    )


def test_a_map_without_room_is_named(pins):
    with pytest.raises(UsageError) as refused:
        open_datapath(pins, sizes={**SIZES, "flows": 0xF000_0000})

    assert (refused.value.code, refused.value.field) == ("map", "flows")
    assert "\n" not in str(refused.value)


async def test_a_node_that_cannot_have_it_has_policy_routing_and_says_why(tmp_path):
    async with open_kernel() as kernel:
        nowhere = Pins(tmp_path / "missing" / "terway")

        chosen = await choose_datapath(
            kernel, Mode.VETH, conf(eniip_virtual_type="datapathv2"), nowhere, SIZES
        )

        assert (chosen.mode, chosen.has_datapath) == (Mode.VETH, False)
        assert "no BPF file system" in chosen.lacks
        assert kernel.datapath is None


async def test_a_map_that_is_too_large_is_told_with_the_key_that_makes_it_smaller(pins):
    async with open_kernel() as kernel:
        sizes = {**SIZES, "policy_verdicts": 0xF000_0000}

        chosen = await choose_datapath(
            kernel, Mode.VETH, conf(eniip_virtual_type="datapathv2"), pins, sizes
        )

        assert "'policy_verdicts'" in chosen.lacks
        assert chosen.lacks.endswith("lower ebpf_policy_entries of eni_conf")


@pytest.mark.parametrize(
    ("mode", "ours", "expected"),
    [
        (Mode.VETH, {"eniip_virtual_type": "datapathv2"}, (Mode.DATAPATHV2, True)),
        (Mode.VETH, {}, (Mode.VETH, False)),
        (Mode.EXCLUSIVE, {"eniip_virtual_type": "datapathv2"}, (Mode.EXCLUSIVE, True)),
        (
            Mode.EXCLUSIVE,
            {"eniip_virtual_type": "datapathv2", "disable_host_peer": True},
            (Mode.EXCLUSIVE, False),
        ),
    ],
)
async def test_a_node_has_what_its_label_and_its_configuration_say(pins, mode, ours, expected):
    async with open_kernel() as kernel:
        chosen = await choose_datapath(kernel, mode, conf(**ours), pins, SIZES)

        assert (chosen.mode, chosen.has_datapath) == expected
        if kernel.datapath is not None:
            kernel.datapath.object.close()


async def test_where_the_kernel_makes_no_ipvlan_links_the_node_has_datapathv2_and_says_so(pins):
    async with open_kernel() as kernel:
        lacks = await kernel.ipvlan_lacks()

        chosen = await choose_datapath(
            kernel, Mode.VETH, conf(eniip_virtual_type="ipvlan"), pins, SIZES
        )

        expected = Mode.DATAPATHV2 if lacks else Mode.IPVLAN
        assert (chosen.mode, chosen.has_datapath, chosen.lacks) == (expected, True, lacks)
        assert kernel.datapath is not None
        kernel.datapath.object.close()
