"""Environment and quantities of containers."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from terway.lab.kubelet.environment import Facts, build_environment, expand, field_of
from terway.lab.kubelet.podspec import Container, Pod, command_of
from terway.lab.kubelet.quantity import parse_quantity
from terway.model.errors import UsageError

POD = msgspec.convert(
    {
        "metadata": {"name": "a", "namespace": "ns", "uid": "u", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1"},
    },
    Pod,
)
FACTS = Facts(
    pod=POD,
    pod_ips=("192.168.32.1", "2001:db8::1"),
    host_ips=("192.168.0.1",),
    config_maps={"settings": {"colour": "blue", "size": "3"}, "absent": None},
    secrets={"login": {"user": "me"}},
)


def container(**fields: object) -> Container:
    return msgspec.convert({"name": "c", **fields}, Container)


def environment(**fields: object) -> dict[str, str]:
    return build_environment(container(**fields), FACTS, hostname="a")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "a"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels", 'app="web"'),
        ("spec.nodeName", "node-1"),
        ("status.podIP", "192.168.32.1"),
        ("status.podIPs", "192.168.32.1,2001:db8::1"),
        ("status.hostIP", "192.168.0.1"),
    ],
)
def test_a_pod_can_ask_about_itself(path: str, value: str) -> None:
    env = environment(env=[{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}])

    assert env["X"] == value


def test_later_sources_win_over_earlier_ones() -> None:
    env = environment(
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        env=[{"name": "P_colour", "value": "red"}],
    )

    assert (env["P_colour"], env["P_size"]) == ("red", "3")


def test_a_reference_that_leads_nowhere_is_refused_unless_it_is_optional() -> None:
    lost = {"name": "absent", "key": "x"}

    with pytest.raises(UsageError, match='configmap "absent" not found'):
        environment(env=[{"name": "X", "valueFrom": {"configMapKeyRef": lost}}])
    env = environment(
        env=[{"name": "X", "valueFrom": {"configMapKeyRef": {**lost, "optional": True}}}]
    )

    assert "X" not in env


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"status\.nothing"):
        field_of(FACTS, "status.nothing")


def test_a_resource_is_counted_in_its_divisor_and_rounded_up() -> None:
    ref = {"resource": "limits.cpu", "divisor": "1"}
    env = environment(
        resources={"limits": {"cpu": "1500m"}},
        env=[{"name": "X", "valueFrom": {"resourceFieldRef": ref}}],
    )

    assert env["X"] == "2"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)-$(A)", "1-1"), ("$$(A)", "$(A)"), ("$(UNKNOWN)", "$(UNKNOWN)"), ("$A", "$A")],
)
def test_variables_are_expanded_as_the_kubelet_expands_them(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", Decimal("0.5")),
        ("10M", Decimal(10_000_000)),
        ("1.5Gi", Decimal(1610612736)),
        ("1e3", Decimal(1000)),
        (7, Decimal(7)),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str | int, number: Decimal) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "10 MB", "M", "1Mib", "1.2.3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a quantity"):
        parse_quantity(text)


def test_a_container_without_a_command_is_refused_and_told_why() -> None:
    with pytest.raises(UsageError, match="give the container a command"):
        command_of(container(image="nginx:1.27", args=["-x"]))


@pytest.mark.parametrize("image", ["pause", "registry.k8s.io/pause:3.10", "a:5000/pause@sha256:0"])
def test_pause_needs_no_command(image: str) -> None:
    assert command_of(container(image=image))
