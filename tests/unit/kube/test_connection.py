"""How a kubeconfig becomes a connection."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from terway.kube.connection import read_in_cluster, read_kubeconfig
from terway.kube.transport import made_socket
from terway.model.errors import UsageError

CONFIG = {
    "current-context": "lab",
    "clusters": [{"name": "c", "cluster": {"server": "https://host:6443/"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
    "contexts": [
        {"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "ns"}},
        {"name": "nobody", "context": {"cluster": "c"}},
    ],
}
YAML = """\
current-context: lab
clusters:
- {name: c, cluster: {server: "https://host:6443", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {tokenFile: token}}
contexts:
- {name: lab, context: {cluster: c, user: u}}
"""


def test_the_current_context_is_used(tmp_path):
    path = tmp_path / "config"
    path.write_text(json.dumps(CONFIG))

    connection = read_kubeconfig(path)

    assert (connection.server, connection.token) == ("https://host:6443", "secret")
    assert connection.namespace == "ns"


def test_another_context_can_be_named_and_needs_no_user(tmp_path):
    path = tmp_path / "config"
    path.write_text(json.dumps(CONFIG))

    assert read_kubeconfig(path, context="nobody").bearer_token() == ""


def test_yaml_is_read_and_a_token_file_is_read_anew_each_time(tmp_path):
    path = tmp_path / "config"
    path.write_text(YAML)
    connection = read_kubeconfig(path)

    tokens = []
    for token in ("first", "second"):
        (tmp_path / "token").write_text(token + "\n")
        tokens.append(connection.bearer_token())

    assert tokens == ["first", "second"]
    assert connection.insecure


def test_a_ca_may_stand_in_the_file_or_beside_it(tmp_path):
    path = tmp_path / "config"
    (tmp_path / "ca.crt").write_text("PEM")
    cluster = CONFIG["clusters"][0]["cluster"]  # type: ignore[index]
    answers = []
    for fields in (
        {"certificate-authority-data": base64.b64encode(b"PEM").decode()},
        {"certificate-authority": "ca.crt"},
    ):
        clusters = [{"name": "c", "cluster": {**cluster, **fields}}]
        path.write_text(json.dumps({**CONFIG, "clusters": clusters}))
        answers.append(read_kubeconfig(path).ca_pem)

    assert answers == ["PEM", "PEM"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"current-context": "none"}, "contexts"),
        ({"clusters": []}, "clusters"),
        ({"users": [{"name": "u", "user": {"exec": {}}}]}, "users[].user.exec"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(tmp_path, change, field):
    path = tmp_path / "config"
    path.write_text(json.dumps({**CONFIG, **change}))

    with pytest.raises(UsageError) as caught:
        read_kubeconfig(path)

    assert caught.value.field == field


def test_a_kubeconfig_that_is_not_there_is_refused_with_its_path(tmp_path):
    with pytest.raises(UsageError, match="none: No such file"):
        read_kubeconfig(tmp_path / "none")


def test_a_pod_finds_its_cluster_by_environment_and_files(tmp_path):
    for name, text in {"token": "t", "ca.crt": "PEM", "namespace": "kube-system\n"}.items():
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}

    connection = read_in_cluster(environ, root=tmp_path)

    assert connection.server == "https://[fd00::1]:6443"
    assert (connection.bearer_token(), connection.namespace) == ("t", "kube-system")


def test_outside_of_a_cluster_there_is_no_in_cluster_connection(tmp_path):
    with pytest.raises(UsageError, match="give a kubeconfig"):
        read_in_cluster({}, root=tmp_path)


def test_a_connection_whose_other_end_is_out_of_reach_is_given_up_in_seconds():
    """Who only listens to a watch would not notice for minutes."""
    with made_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("", 0))) as made:
        idle_s, apart_s, times = (
            made.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )

        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle_s + apart_s * times <= 20
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 20_000
