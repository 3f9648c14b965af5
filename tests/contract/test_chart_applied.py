"""An API server takes what the chart makes, as it is, and takes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from terway.lab.kubeapi.manifests import apply_manifests
from terway.lab.kubeapi.resources import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, ResourceDef
from terway.lab.kubeapi.state import ClusterState
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server
from tests.support.kubectl import Kubectl

MANIFESTS = Path(__file__).parents[2] / "deploy" / "manifests"
NAMES = sorted(path.name for path in MANIFESTS.glob("*.yaml"))


def found(state: ClusterState, resource: ResourceDef, name: str) -> dict[str, Any]:
    return state.get(resource, name, "kube-system").object


@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_taken_and_a_second_time_changes_nothing(name):
    state = make_cluster()

    first = apply_manifests(state, (MANIFESTS / name).read_text())
    second = apply_manifests(state, (MANIFESTS / name).read_text())

    assert [one["metadata"]["resourceVersion"] for one in first] == [
        one["metadata"]["resourceVersion"] for one in second
    ]
    agent = found(state, DAEMON_SET, "terway")
    (init,) = agent["spec"]["template"]["spec"]["initContainers"]
    assert init["command"][:2] == ["terwayd", "--prepare"]


@pytest.mark.parametrize("name", NAMES)
async def test_kubectl_has_the_server_check_them(name, tmp_path):
    async with open_kube_server(make_cluster(), tmp_path) as server:
        kubectl = Kubectl(tmp_path, server.kubeconfig)

        said = await kubectl("apply", "--dry-run=server", "-f", str(MANIFESTS / name))

    objects = list(yaml.safe_load_all((MANIFESTS / name).read_text()))
    assert len(said.splitlines()) == len(objects)


def test_from_one_values_file_to_another_and_back():
    """An upgrade replaces the configuration, and a rollback brings the old one back."""
    state = make_cluster()
    shared, dual = (
        (MANIFESTS / f"{one}.yaml").read_text() for one in ("shared", "datapathv2-dual")
    )
    apply_manifests(state, shared)
    before = found(state, CONFIG_MAP, "eni-config")["data"]
    checksum = checksum_of(found(state, DAEMON_SET, "terway"))

    apply_manifests(state, dual)
    between = checksum_of(found(state, DAEMON_SET, "terway"))
    apply_manifests(state, shared)

    assert found(state, CONFIG_MAP, "eni-config")["data"] == before
    assert checksum_of(found(state, DAEMON_SET, "terway")) == checksum
    assert between != checksum
    assert found(state, DEPLOYMENT, "terway-controlplane")["spec"]["replicas"] == 2


def checksum_of(workload: dict) -> str:
    return str(workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"])
