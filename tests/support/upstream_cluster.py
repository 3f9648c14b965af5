"""A lab whose cluster runs upstream: its objects, its agents as pods of a DaemonSet, its ENIs.

Both agents run as the DaemonSets say. A lab has no images: the programs, as they are on this
machine, are mounted where an image would have them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from terway.cli.chart.render import find_chart, read_values, render
from terway.cli.chart.settings import overlaid
from terway.controlplane.install import read_definitions
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.lab.world.lab import Lab
from terway.lab.world.plan import OPENAPI
from terway.model.ids import ClientToken
from tests.support.upstream_agent import MOUNTS
from tests.support.upstream_definitions import definitions
from tests.support.upstream_objects import control_plane, daemon_set
from tests.support.upstream_resources import examples, put

_REPOSITORY = Path(__file__).parents[2]
_PROGRAMS = Path(sys.executable).parent
_VOLUMES = (
    ("programs", str(_PROGRAMS), "/usr/local/sbin"),  # of the PATH of every container
    ("python", sys.prefix, sys.prefix),
    ("repository", str(_REPOSITORY), str(_REPOSITORY)),
    ("kubeconfig", "/etc/kubernetes", "/etc/kubernetes"),
)


async def add_upstream(lab: Lab, *nodes: str) -> None:
    """Let upstream have the cluster, and return when its nodes are Ready."""
    await lab.configure_agents()
    client = inprocess_ecs_client(lab.cloud)
    for name in nodes:
        await lab.add_node(name)
        made = await client.create_eni(
            vswitch_id=lab.ground.pod_vswitch_id,
            security_group_ids=(lab.ground.security_group_id,),
            ipv4_count=6,
            ipv6_count=6,
            tags=(("creator", "terway"),),
            token=ClientToken(f"upstream-{name}"),
        )
        await client.attach_eni(made.id, lab.instances[name].id)
    await lab.apply(yaml.safe_dump_all(definitions(read_definitions())))
    for one in examples(nodes[0], is_central=False):  # before the webhook, which nobody answers
        await put(lab.kube, one)
    command = (sys.executable, "-m", "tests.support.upstream_agent")
    agents = daemon_set(command=command, mounts=MOUNTS)
    objects = [with_programs(agents), *control_plane()]
    await lab.apply(yaml.safe_dump_all(objects))
    await lab.wait_ready(*nodes)


def our_manifests(lab: Lab) -> str:
    """Return the chart's objects for this lab: its agents manage their ENIs themselves."""
    chart = find_chart()
    endpoint = f"http://{OPENAPI}"
    values = {
        "regionID": lab.plan.region_id,
        "clusterID": "lab",
        "vpcID": lab.ground.vpc_id,
        "vSwitches": {lab.plan.zone_id: [lab.ground.pod_vswitch_id]},
        "securityGroupIDs": [lab.ground.security_group_id],
        "serviceCIDR": "172.21.0.0/20",
        "centralizedIPAM": False,
        "trunk": False,
        "controlPlane": {"enabled": False},
        "endpoints": {"ecs": endpoint, "vpc": endpoint},
    }
    text = render(overlaid(read_values([], [], chart=chart), values), chart=chart)
    return yaml.safe_dump_all(map(with_programs, yaml.safe_load_all(text)))


def with_programs(one: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose containers find our programs, and the API server."""
    if one["kind"] == "DaemonSet":
        _equip(one["spec"]["template"]["spec"])
    return one


def look_pod(node: str, *words: str) -> dict[str, Any]:
    """Return a pod that looks at a node from outside of its files, which it has at /host."""
    spec = {
        "nodeName": node,
        "hostNetwork": True,
        "hostPID": True,
        "restartPolicy": "Never",
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": "look",
                "image": "terway",
                "command": list(words),
                "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            }
        ],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    }
    _equip(spec)
    return {"metadata": {"name": "look", "namespace": "kube-system"}, "spec": spec}


def _equip(spec: dict[str, Any]) -> None:
    spec["volumes"] += [
        {"name": name, "hostPath": {"path": source}} for name, source, _ in _VOLUMES
    ]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for probe in ("readinessProbe", "livenessProbe"):
            if probe in container:
                # A test waits for it, on a machine that may have other work on every core.
                container[probe] |= {"periodSeconds": 1, "timeoutSeconds": 60}
        if "command" in container:
            container["volumeMounts"] += [
                {"name": name, "mountPath": target} for name, _, target in _VOLUMES
            ]
            env = {"KUBECONFIG": "/etc/kubernetes/terway.conf", "PYTHONPATH": str(_REPOSITORY)}
            container["env"] = [
                *container.get("env", ()),
                *({"name": name, "value": value} for name, value in env.items()),
            ]
