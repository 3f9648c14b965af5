"""Parts of a lab node: links followed inside, eth0, records of processes, the sandbox's wishes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from terway.lab.kubelet.podspec import Pod
from terway.lab.kubelet.sandbox import pod_addresses, runtime_config
from terway.lab.node.filesystem import folder_on_both
from terway.lab.node.jail import resolve_inside
from terway.lab.node.network import eth0_commands
from terway.lab.world.paths import LabPaths, list_labs, sweep
from terway.lab.world.processes import ProcessRecord, read_record, record_of
from terway.model.errors import UsageError


def test_links_are_followed_inside_a_root(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to("/run")
    (tmp_path / "etc").symlink_to("../../usr/./etc")

    assert resolve_inside(str(tmp_path), "/var/run/x/y") == f"{tmp_path}/run/x/y"
    assert resolve_inside(str(tmp_path), "/etc/hosts") == f"{tmp_path}/usr/etc/hosts"


def test_links_in_a_circle_do_not_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert resolve_inside(str(tmp_path), "/a/x").startswith(str(tmp_path))


def test_eth0_gets_both_families_and_no_duplicate_address_detection() -> None:
    lines = eth0_commands(
        ("192.168.0.1/19", "2001:db8::1/64"), ("192.168.31.253", "2001:db8::fffd"), mtu_bytes=1500
    )

    assert lines == [
        "link set eth0 mtu 1500 up",
        "address replace 192.168.0.1/19 dev eth0",
        "address replace 2001:db8::1/64 dev eth0 nodad",
        "route replace default via 192.168.31.253 dev eth0",
        "route replace default via 2001:db8::fffd dev eth0",
    ]


def test_a_process_is_known_by_its_start_as_well(tmp_path: Path) -> None:
    own = record_of(os.getpid())
    assert own is not None
    own.write(tmp_path / "pid")

    assert read_record(tmp_path / "pid") == own
    assert own.is_alive()
    assert not replace(own, start_ticks=own.start_ticks + 1).is_alive()


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "7"])
def test_a_record_that_was_cut_short_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)

    assert read_record(tmp_path / "pid") is None


def test_a_sweep_takes_dead_labs_and_leaves_living_ones(tmp_path: Path) -> None:
    living, dead = LabPaths(name="a", root=tmp_path), LabPaths(name="b", root=tmp_path)
    living.make()
    dead.make()
    ProcessRecord(pid=1, start_ticks=10**12).write(dead.pid_file)

    assert sweep(tmp_path) == ["b"]
    assert [lab.name for lab in list_labs(tmp_path)] == ["a"]


def test_two_labs_of_one_name_cannot_be(tmp_path: Path) -> None:
    LabPaths(name="a", root=tmp_path).make()

    with pytest.raises(UsageError, match="exists"):
        LabPaths(name="a", root=tmp_path).make()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", "x" * 33])
def test_a_lab_name_is_a_safe_file_name(name: str) -> None:
    with pytest.raises(UsageError, match="lab name"):
        LabPaths(name=name)


def test_host_ports_and_bandwidth_are_asked_of_the_network() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]
    pod = msgspec.convert(
        {
            "metadata": {"annotations": {"kubernetes.io/ingress-bandwidth": "10M"}},
            "spec": {"containers": [{"name": "c", "ports": ports}]},
        },
        Pod,
    )

    asked = runtime_config(pod)

    assert asked["portMappings"] == [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    assert asked["bandwidth"]["ingressRate"] == 10_000_000
    assert "egressRate" not in asked["bandwidth"]


def test_addresses_of_the_host_side_are_not_the_pods() -> None:
    result = {
        "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
        "ips": [
            {"address": "10.0.0.1/24", "interface": 0},
            {"address": "192.168.32.1/32", "interface": 1},
            {"address": "2001:db8::1/128"},
        ],
    }

    assert pod_addresses(result) == ("192.168.32.1", "2001:db8::1")


def test_kubernetes_hears_of_one_interface_of_a_pod_and_one_address_of_a_family() -> None:
    interfaces = [{"name": name, "sandbox": "/run/netns/a"} for name in ("eth0", "eth1")]
    held = (("2001:db8::1", 0), ("192.168.32.1", 0), ("192.168.32.2", 0), ("192.168.32.3", 1))
    ips = [{"address": f"{address}/32", "interface": index} for address, index in held]

    assert pod_addresses({"interfaces": interfaces, "ips": ips}) == ("2001:db8::1", "192.168.32.1")


@pytest.mark.parametrize(
    ("here", "there"), [("/srv/x", "/srv/x"), ("/", "/"), ("/var/tmp", "/tmp"), ("/run", "/tmp")]
)
def test_a_tool_runs_in_the_folder_of_its_user_where_the_node_has_the_same(
    here: str, there: str
) -> None:
    assert str(folder_on_both(Path(here))) == there
