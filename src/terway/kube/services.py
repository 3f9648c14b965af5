"""What do all readers of Services and EndpointSlices have in common?

The agent keeps a few bytes of each in the cluster, the control plane whole ones of few: what else
they read of them is theirs (`agent.service.objects`, `controlplane.balancers.objects`).
Source: Kubernetes API reference v1.34.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from terway.kube.resource import Resource
from terway.kube.types import _Value

SERVICE_NAME = "kubernetes.io/service-name"  # a slice's label: whose it is

T = TypeVar("T")


class EndpointConditions(_Value, frozen=True, kw_only=True):
    """An endpoint's conditions. What is absent is as if ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class EndpointPort(_Value, frozen=True, kw_only=True):
    """A port of a slice. Without a number it means all, which no Service of ours has."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None


def services_as(read_as: type[T], *, shrink: Callable[[T], T]) -> Resource[T]:
    """Return core/v1 services, read as `read_as`; `shrink` says what is kept of each."""
    return Resource(
        group="",
        version="v1",
        plural="services",
        kind="Service",
        namespaced=True,
        read_as=read_as,
        shrink=shrink,
    )


def slices_as(read_as: type[T], *, shrink: Callable[[T], T]) -> Resource[T]:
    """Return discovery.k8s.io/v1 endpointslices, as `services_as` does services."""
    return Resource(
        group="discovery.k8s.io",
        version="v1",
        plural="endpointslices",
        kind="EndpointSlice",
        namespaced=True,
        read_as=read_as,
        shrink=shrink,
    )
