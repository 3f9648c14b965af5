"""Which edges does the process stand on, and how are they opened?"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import structlog

from terway.cloud.credentials import (
    Credentials,
    CredentialsProvider,
    RamRoleCredentials,
    StaticCredentials,
)
from terway.cloud.ecs import EcsClient
from terway.cloud.metadata import MetadataClient
from terway.cloud.openapi import OpenAPI, open_session
from terway.cloud.token_file import TokenFileCredentials, read_token_file
from terway.controlplane.budget import CallBudget
from terway.controlplane.clusterconf import ClusterConf, follow_conf
from terway.controlplane.config import Config, Credential, parse_credential, read_file
from terway.controlplane.context import Context, Endpoints
from terway.controlplane.informers import SharedInformers
from terway.controlplane.metrics import CallMetrics, Metrics, budget_gauges, informer_gauges
from terway.controlplane.options import Options
from terway.controlplane.reload import FollowedConfig
from terway.kube.client import KubeClient
from terway.kube.connection import Connection, read_in_cluster, read_kubeconfig
from terway.kube.events import EventRecorder
from terway.kube.resource import Resource
from terway.model.ids import RegionId

_log = structlog.get_logger("controlplane")

COMPONENT = "terway-controlplane"


def kube_connection(options: Options) -> Connection:
    """Return how the API server is reached. Raises UsageError where nothing says so."""
    if options.kubeconfig is not None:
        return read_kubeconfig(options.kubeconfig)
    return read_in_cluster(os.environ)


async def open_context(
    stack: AsyncExitStack,
    options: Options,
    config: Config,
    client: KubeClient,
    followed: FollowedConfig,
) -> Context:
    """Open the cloud, and put together what parts stand on.

    Raises TransientError where the region is to be read of a metadata service that is away.
    """
    rng = Random()  # noqa: S311 - waits are drawn from it, not secrets
    session = await stack.enter_async_context(open_session())
    metadata = MetadataClient(session, base_url=options.metadata_url)
    region_id = config.region_id or await metadata.region_id()
    openapi = OpenAPI(session, _credentials(options.credential, metadata))
    endpoints = _endpoints(options, region_id)
    informers = SharedInformers(client, rng=rng, on_error=_tell_watch_failed)
    budget = CallBudget(
        {action: float(limit) for action, limit in config.rate_limits_per_min.items()},
        share=config.call_share,
        clock=time.monotonic,
    )
    return Context(
        config=config,
        client=client,
        informers=informers,
        eni_config=_eni_config(informers, config),
        openapi=openapi,
        region_id=region_id,
        endpoints=endpoints,
        cloud=EcsClient(
            openapi,
            region_id=region_id,
            ecs_endpoint=endpoints.ecs,
            vpc_endpoint=endpoints.vpc,
        ),
        budget=budget,
        events=_events(client, config),
        metrics=_metrics(openapi, informers, budget),
        degradation=followed.degradation,
        clock=time.time,
        monotonic=time.monotonic,
        rng=rng,
        token_seed=secrets.token_hex(8),
    )


def _credentials(path: Path, metadata: MetadataClient) -> CredentialsProvider:
    found = Credential()
    if path.exists():
        found, cautions = parse_credential(read_file(path))
        for caution in cautions:
            _log.warning("config.caution", field=caution.field, text=caution.text)
    if found.access_key:
        return StaticCredentials(
            Credentials(access_key_id=found.access_key, access_key_secret=found.access_secret)
        )
    if found.credential_path:
        token = Path(found.credential_path)
        read_token_file(token)  # to say now what is wrong with it
        return TokenFileCredentials(token)
    return RamRoleCredentials(metadata, now=time.time)


def _endpoints(options: Options, region_id: RegionId) -> Endpoints:
    # Inside a VPC; those of load balancers are public only.
    return Endpoints(
        ecs=options.ecs_endpoint or f"ecs-vpc.{region_id}.aliyuncs.com",
        vpc=options.vpc_endpoint or f"vpc-vpc.{region_id}.aliyuncs.com",
        slb=options.slb_endpoint or f"slb-vpc.{region_id}.aliyuncs.com",
        nlb=options.nlb_endpoint or f"nlb-vpc.{region_id}.aliyuncs.com",
    )


def _eni_config(informers: SharedInformers, config: Config) -> ClusterConf:
    informer = follow_conf(informers, config.namespace)
    return ClusterConf(informer, namespace=config.namespace)


def _events(client: KubeClient, config: Config) -> EventRecorder:
    return EventRecorder(
        client,
        component=COMPONENT,
        host=config.name,
        clock=time.time,
        on_error=lambda error: _log.info("kube.event_lost", error=str(error)),
    )


def _metrics(openapi: OpenAPI, informers: SharedInformers, budget: CallBudget) -> Metrics:
    metrics, calls = Metrics(), CallMetrics()
    openapi.on_call = calls.observe
    budget.on_turn = calls.observe_turn
    metrics.sources += [
        calls.metrics,
        lambda: informer_gauges(informers.sizes()),
        lambda: budget_gauges(budget.usage()),
    ]
    return metrics


def _tell_watch_failed(resource: Resource[Any], error: Exception) -> None:
    _log.warning("kube.watch_failed", collection=resource.plural, error=str(error))
