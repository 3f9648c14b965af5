"""Opens the cloud for a person: with his own keys where he has some, else with the node's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from terway.cli.place import Place
from terway.cli.read_cloud import choose_keys, open_metadata
from terway.cloud.credentials import Credentials, StaticCredentials
from terway.cloud.ecs import EcsClient
from terway.cloud.inspect import CloudInspector
from terway.cloud.network import NetworkClient
from terway.cloud.openapi import OpenAPI, open_session
from terway.model.ids import RegionId

# The variables that the vendor's own tools and SDKs know.
_ID, _SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
_TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The clients of one region."""

    ecs: EcsClient
    network: NetworkClient
    inspector: CloudInspector


@asynccontextmanager
async def open_account(
    place: Place, region_id: str, *, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Account]:
    """Open the cloud for the block. An empty region is this instance's own.

    Endpoints are the public ones, which are reached from anywhere, unless the environment says
    others. Raises TransientError when the region must be asked for and nobody answers.
    """
    async with open_session() as session, open_metadata(place) as metadata:
        region = RegionId(region_id or await metadata.region_id())
        keys = own_keys(environ) or choose_keys(None, metadata, place.addon_secret)
        openapi = OpenAPI(session, keys)
        ecs = place.ecs_endpoint or f"ecs.{region}.aliyuncs.com"
        vpc = place.vpc_endpoint or f"vpc.{region}.aliyuncs.com"
        yield Account(
            ecs=EcsClient(openapi, region_id=region, ecs_endpoint=ecs, vpc_endpoint=vpc),
            network=NetworkClient(openapi, region_id=region, ecs_endpoint=ecs, vpc_endpoint=vpc),
            inspector=CloudInspector(openapi, region_id=region, ecs_endpoint=ecs, vpc_endpoint=vpc),
        )


def own_keys(environ: Mapping[str, str]) -> StaticCredentials | None:
    """Return the keys that the environment has, or None."""
    if not environ.get(_ID) or not environ.get(_SECRET):
        return None
    return StaticCredentials(
        Credentials(
            access_key_id=environ[_ID],
            access_key_secret=environ[_SECRET],
            security_token=environ.get(_TOKEN, ""),
        )
    )
