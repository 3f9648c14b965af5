"""Command line and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from terway.agent.options import parse_options
from terway.model.errors import UsageError

ENV = {"NODE_NAME": "n1"}


def test_the_defaults_are_the_paths_that_other_tools_know():
    options = parse_options([], ENV)

    assert options.paths.socket == Path("/var/run/eni/cni.socket")
    assert options.paths.journal == Path("/var/lib/cni/terway/terway.db")
    assert options.paths.conflist == Path("/etc/cni/net.d/10-terway.conflist")
    assert options.readonly_listen == "unix:///var/run/eni/eni_debug.socket"
    assert options.namespace == "kube-system"


def test_a_root_moves_all_paths(tmp_path):
    options = parse_options(["--root", str(tmp_path)], ENV)

    assert options.paths.config == tmp_path / "etc/eni/eni_conf"
    assert options.paths.spool == tmp_path / "var/lib/cni/terway/spool"


@pytest.mark.parametrize("flag", ["-config", "--config", "-config=/etc/x"])
def test_upstreams_flags_with_one_dash_are_understood(flag):
    argv = [flag] if "=" in flag else [flag, "/etc/x"]

    assert parse_options(argv, ENV).paths.config == Path("/etc/x")


def test_a_node_needs_its_name_unless_there_is_no_kubernetes():
    with pytest.raises(UsageError, match="NODE_NAME"):
        parse_options([], {})
    assert not parse_options(["--no-kubernetes"], {}).kubernetes


def test_a_mode_that_is_not_there_is_refused_by_name():
    with pytest.raises(UsageError, match="VPC: only ENIMultiIP"):
        parse_options(["--daemon-mode", "VPC"], ENV)


def test_endpoints_come_from_the_environment():
    env = ENV | {"ECS_ENDPOINT": "http://e", "VPC_ENDPOINT": "http://v", "KUBECONFIG": "/k"}
    options = parse_options([], env)

    assert (options.ecs_endpoint, options.vpc_endpoint) == ("http://e", "http://v")
    assert options.kubeconfig == Path("/k")
