"""What do the metadata service and the OpenAPI say about this instance?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from terway.cli.place import Place
from terway.cli.snapshot import CloudView, InstanceView, MetadataENIView, Missing
from terway.cloud.credentials import (
    Credentials,
    CredentialsProvider,
    RamRoleCredentials,
    StaticCredentials,
)
from terway.cloud.ecs import EcsClient
from terway.cloud.inspect import CloudInspector, SecurityGroup
from terway.cloud.metadata import MetadataClient
from terway.cloud.openapi import OpenAPI, open_session
from terway.config.eni_conf import EniConf
from terway.model.address import IPAddress
from terway.model.eni import ENI
from terway.model.errors import UsageError, VpcError
from terway.model.ids import RegionId

_ID, _SECRET = "access-key-id", "access-key-secret"


async def _no_wait(_seconds: float) -> None:
    """Try again at once: a person is waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The clients of one region, and where they go."""

    ecs: EcsClient
    inspector: CloudInspector
    session: aiohttp.ClientSession
    ecs_endpoint: str


@asynccontextmanager
async def open_metadata(place: Place) -> AsyncIterator[MetadataClient]:
    """Open a client of the metadata service for the block."""
    async with open_session() as session:
        yield MetadataClient(session, base_url=place.metadata_url, sleep=_no_wait)


@asynccontextmanager
async def open_cloud(
    place: Place, conf: EniConf | None, region_id: str, *, own_keys: bool = True
) -> AsyncIterator[Cloud]:
    """Open the OpenAPI for the block.

    With `own_keys`, a person's keys in the environment go before those that terwayd uses, which
    are allowed little. Source of the names: the cloud's SDKs.
    """
    region = RegionId((conf and conf.region_id) or region_id)
    ecs_endpoint = place.ecs_endpoint or f"ecs-vpc.{region}.aliyuncs.com"
    vpc_endpoint = place.vpc_endpoint or f"vpc-vpc.{region}.aliyuncs.com"
    async with open_session() as session, open_metadata(place) as metadata:
        keys = place.access_key if own_keys else None
        openapi = OpenAPI(
            session,
            StaticCredentials(keys) if keys else choose_keys(conf, metadata, place.addon_secret),
        )
        yield Cloud(
            ecs=EcsClient(
                openapi, region_id=region, ecs_endpoint=ecs_endpoint, vpc_endpoint=vpc_endpoint
            ),
            inspector=CloudInspector(
                openapi, region_id=region, ecs_endpoint=ecs_endpoint, vpc_endpoint=vpc_endpoint
            ),
            session=session,
            ecs_endpoint=ecs_endpoint,
        )


def choose_keys(
    conf: EniConf | None, metadata: MetadataClient, addon_secret: Path
) -> CredentialsProvider:
    """Return who has the keys, in terwayd's order: the mounted secret, eni_conf, the RAM role."""
    if (addon_secret / _ID).exists():
        try:
            pair = [(addon_secret / name).read_text().strip() for name in (_ID, _SECRET)]
        except OSError as error:
            raise UsageError(f"{addon_secret}: {error.strerror}: it needs both files") from error
        return StaticCredentials(Credentials(access_key_id=pair[0], access_key_secret=pair[1]))
    if conf is not None and conf.access_key:
        return StaticCredentials(
            Credentials(access_key_id=conf.access_key, access_key_secret=conf.access_secret)
        )
    return RamRoleCredentials(metadata, now=time.time)


async def read_instance(metadata: MetadataClient) -> InstanceView:
    """Return what the metadata service says. Raises TransientError when it does not answer."""
    view = InstanceView(
        instance_id=await metadata.instance_id(),
        instance_type=await metadata.instance_type(),
        region_id=await metadata.region_id(),
        zone_id=await metadata.zone_id(),
        vpc_id=await metadata.vpc_id(),
        vswitch_id=await metadata.vswitch_id(),
        vpc_cidr=str(await metadata.vpc_cidr()),
    )
    enis: list[MetadataENIView] = []
    for mac in await metadata.macs():
        eni = await metadata.eni(mac)
        if eni is None:
            continue
        gateways = (eni.gateway_v4, eni.gateway_v6)
        enis.append(
            MetadataENIView(
                id=eni.id,
                mac=eni.mac,
                vswitch_id=eni.vswitch_id,
                cidr=" ".join(str(one) for one in (eni.cidr, eni.ipv6_cidr) if one),
                addresses=(*eni.ipv4, *eni.ipv6),
                gateways=tuple(one for one in gateways if one is not None),
            )
        )
    return replace(view, enis=tuple(enis))


async def read_cloud(
    cloud: Cloud, instance: InstanceView, *, asked: Iterable[IPAddress] = (), deep: bool = False
) -> CloudView:
    """Return what the OpenAPI says of this instance; `asked` are addresses to find the ENI of.

    `deep` adds security groups and routes, which only an explanation needs.
    """
    enis = await cloud.ecs.describe_enis(instance_id=instance.instance_id)
    vswitches = await cloud.ecs.describe_vswitches(dict.fromkeys(one.vswitch_id for one in enis))
    limits = await cloud.ecs.describe_instance_types((instance.instance_type,))
    view = CloudView(enis=enis, vswitches=vswitches, limits=limits[0] if limits else None)
    if not deep:
        return view
    wanted = tuple(asked)
    peers = await _peers(cloud, instance, wanted, enis)
    view = replace(view, peers=peers, asked=wanted)
    # The agent's keys need not be allowed to read the rest.
    try:
        view = replace(view, groups=await _groups(cloud, (*enis, *peers)))
    except VpcError as error:
        view = _without(view, "groups", error)
    try:
        routes = await cloud.inspector.routes(instance.vpc_id, instance.vswitch_id)
    except VpcError as error:
        return _without(view, "routes", error)
    return replace(view, routes=routes)


def _without(view: CloudView, part: str, error: VpcError) -> CloudView:
    missing = Missing(source=part, reason=str(error))
    return replace(view, refusals=(*view.refusals, missing))


async def _groups(cloud: Cloud, enis: Iterable[ENI]) -> tuple[SecurityGroup, ...]:
    ids = dict.fromkeys(one for eni in enis for one in eni.security_group_ids)
    return tuple([await cloud.inspector.security_group(one) for one in ids])


async def _peers(
    cloud: Cloud, instance: InstanceView, asked: tuple[IPAddress, ...], own: tuple[ENI, ...]
) -> tuple[ENI, ...]:
    known = {one.id for one in own}
    found: dict[str, ENI] = {}
    for address in asked:
        eni = await cloud.inspector.eni_of_address(instance.vpc_id, address)
        if eni is not None and eni.id not in known:
            found[eni.id] = eni
    return tuple(found.values())
