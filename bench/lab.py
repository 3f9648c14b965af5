"""How long does a lab take to come up, and to run 30 pods of a Deployment?"""

from __future__ import annotations

import time
from collections.abc import Mapping

from bench import world
from bench.group import Group, Order, say
from bench.record import Bound, Record, Target, absolute
from bench.stats import median
from terway.kube.resource import PODS, ObjectKey
from terway.kube.types import Pod
from terway.lab.world.lab import Lab
from terway.lab.world.waiting import wait_until

UP = "lab.up_s@3"
PODS_RUN = "lab.pods_s@30"

ROUNDS = 5
REPLICAS = 30

DEPLOYMENT = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: thirty, namespace: default}}
spec:
  replicas: {REPLICAS}
  selector: {{matchLabels: {{app: thirty}}}}
  template:
    metadata: {{labels: {{app: thirty}}}}
    spec:
      containers:
      - name: main
        image: terway-lab/toolbox
        command: {list(world.SLEEP)}
"""


async def measure(order: Order) -> list[Record]:
    """Bring up a three-node lab some times; each time, run the pods too."""
    rounds = order.rounds(ROUNDS)
    up_s, pods_s = [], []
    for turn in range(rounds):
        say(f"  round {turn + 1} of {rounds}")
        began = time.monotonic()
        async with world.lab(nodes=3) as lab:
            up_s.append(time.monotonic() - began)
            if order.wants(PODS_RUN):
                pods_s.append(await _run_deployment_s(lab))
    records = [_record(UP, "three nodes, Ready", up_s, limit=15.0)]
    if pods_s:
        records.append(_record(PODS_RUN, "a Deployment of 30 pods, Ready", pods_s, limit=10.0))
    return records


async def _run_deployment_s(lab: Lab) -> float:
    def trouble(pods: Mapping[ObjectKey, Pod]) -> str:
        ready = sum(world.is_ready(pod) for pod in pods.values())
        return "" if ready == REPLICAS else f"{ready} of {REPLICAS} pods are Ready"

    began = time.monotonic()
    await lab.apply(DEPLOYMENT)
    await wait_until(lab.kube, PODS, trouble, timeout_s=120, namespace="default")
    return time.monotonic() - began


def _record(figure: str, subject: str, took_s: list[float], *, limit: float) -> Record:
    return absolute(
        figure,
        subject=subject,
        value=median(took_s),
        target=Target(bound=Bound.AT_MOST, limit=limit, of_ratio=False),
        unit="s",
        runs=len(took_s),
    )


GROUP = Group(figures=(UP, PODS_RUN), title="a lab of three nodes, and 30 pods", measure=measure)
