"""Which load balancer is a Service's? Its labels say the id: users of the cloud look for it there.

A Service with a CLB instance for each family has a label for each; what selects by label, or reads
one id, goes on with the IPv4 instance's.
Source: LabelLoadBalancerId of kubernetes/cloud-provider-alibaba-cloud, since v2.4.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from terway.controlplane.balancers.objects import SERVICES, BalancedService
from terway.controlplane.balancers.rounds import Made
from terway.controlplane.ports import KubePort
from terway.model.address import Family

LABEL = "service.k8s.alibaba/loadbalancer-id"
LABEL_V6 = f"{LABEL}-v6"  # ours: of the second instance


def ids_of(made: Sequence[Made]) -> dict[str, str]:
    """Return the labels of the instances that are there."""
    return {
        _key_of(one, made): one.observed.instance.id
        for one in made
        if one.observed.instance is not None
    }


def _key_of(one: Made, made: Sequence[Made]) -> str:
    return LABEL_V6 if len(made) > 1 and one.wanted.families == (Family.V6,) else LABEL


def is_labelled(found: BalancedService) -> bool:
    """Return whether a Service says which load balancer it has."""
    return LABEL in found.metadata.labels or LABEL_V6 in found.metadata.labels


async def label(client: KubePort, found: BalancedService, made: Sequence[Made]) -> None:
    """Have a Service say which instances it has; of one that is being made it says nothing new."""
    wanted = {_key_of(one, made) for one in made}
    gone = {one: None for one in (LABEL, LABEL_V6) if one not in wanted}
    await _write(client, found, {**gone, **ids_of(made)})


async def unlabel(client: KubePort, found: BalancedService) -> None:
    """Have a Service say that it has none."""
    await _write(client, found, {LABEL: None, LABEL_V6: None})


async def _write(
    client: KubePort, found: BalancedService, labels: Mapping[str, str | None]
) -> None:
    held = found.metadata.labels
    patch = {key: value for key, value in labels.items() if held.get(key) != value}
    if patch:
        body = {"metadata": {"labels": patch}}
        await client.patch(SERVICES, found.metadata.name, body, namespace=found.metadata.namespace)
