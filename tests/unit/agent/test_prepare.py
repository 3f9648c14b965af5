"""What the init step makes of a host, and what it leaves alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.agent.options import parse_options
from terway.agent.prepare import Host, prepare
from terway.model.errors import UsageError

CONF = {
    "version": "1",
    "vswitches": {"cn-hangzhou-i": ["vsw-1"]},
    "security_group": "sg-1",
    "service_cidr": "172.21.0.0/20",
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    root = a_host(tmp_path)
    yield root
    subprocess.run(["umount", str(root / "sys/fs/bpf")], check=False, capture_output=True)


def a_host(tmp_path: Path, **conf: object) -> Path:
    config = tmp_path / "etc/eni"
    config.mkdir(parents=True, exist_ok=True)
    (config / "eni_conf").write_text(json.dumps({**CONF, **conf}))
    (config / "10-terway.conf").write_text(json.dumps({"type": "terway", "cniVersion": "1.1.0"}))
    (tmp_path / "etc/udev").mkdir(exist_ok=True)
    (tmp_path / "sys/fs/bpf").mkdir(parents=True, exist_ok=True)
    return tmp_path


def prepared(root: Path, commands: list[tuple[str, ...]]) -> list[str]:
    options = parse_options(["--prepare", f"--root={root}"], {})

    def run(words: tuple[str, ...]) -> int:
        commands.append(words)
        return 0 if words[-1] == "sch_htb" else 1

    return list(prepare(options, Host(root=root, run=run)))


@pytest.mark.root
def test_the_plugin_is_there_and_nothing_of_the_host_configures_enis(host: Path) -> None:
    commands: list[tuple[str, ...]] = []
    done = prepared(host, commands)
    assert (host / "opt/cni/bin/terway").stat().st_mode & 0o111
    assert (host / "etc/udev/rules.d/61-eni.rules").readlink() == Path("/dev/null")
    assert ("modprobe", "-q", "8021q") in commands
    assert "module sch_htb is there" in done
    assert not any("8021q" in line for line in done)


@pytest.mark.root
def test_a_host_without_a_daemon_for_services_gets_none(host: Path) -> None:
    prepared(host, [])
    assert not (host / "etc/systemd").exists()


@pytest.mark.root
def test_the_runtime_is_not_told_of_a_network_yet(host: Path) -> None:
    prepared(host, [])
    assert not (host / "etc/cni").exists()


@pytest.mark.root
def test_it_may_be_done_again(host: Path) -> None:
    prepared(host, [])
    assert prepared(host, []) == ["module sch_htb is there"]


def test_a_configuration_that_cannot_be_is_told_before_anything_is_changed(tmp_path: Path) -> None:
    root = a_host(tmp_path, ip_stack="ipv5")
    with pytest.raises(UsageError, match="ip_stack"):
        prepared(root, [])
    assert not (root / "opt").exists()
    assert not list((root / "etc/udev").iterdir())
