"""The agent's own client on the emulated cloud, without HTTP and signatures.

For tests on a virtual clock and for simulations. It passes the same contract suite as the client
over HTTP (tests/contract/test_ecs_client.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from terway.cloud.ecs import EcsClient
from terway.cloud.errors import translate
from terway.cloud.nlb import NlbClient
from terway.cloud.openapi import Product
from terway.cloud.query import Value, flatten
from terway.cloud.slb import SlbClient
from terway.cloud.source_groups import SourceGroupClient
from terway.lab.cloud.cloud import Call, Cloud
from terway.model.errors import TransientError

Answer = TypeVar("Answer")
Sleep = Callable[[float], Awaitable[None]]


async def no_sleep(delay_s: float) -> None:
    """Do not wait for answers that are held back."""


class InProcessCaller:
    """Takes the place of `terway.cloud.openapi.OpenAPI`."""

    def __init__(self, cloud: Cloud, *, sleep: Sleep = no_sleep) -> None:
        self._cloud = cloud
        self._sleep = sleep

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        """Perform a call as the account's owner; errors as over HTTP."""
        call = Call(version=product.version, action=action, parameters=flatten(parameters))
        reply = self._cloud.perform(call)
        await self._sleep(reply.delay_s)
        if reply.lost:
            raise TransientError(f"{action}: no answer from the cloud: the reply was lost")
        if reply.code:
            raise translate(
                action=action,
                status=reply.status,
                code=reply.code,
                message=str(reply.body["Message"]),
                request_id=str(reply.body["RequestId"]),
            )
        return msgspec.convert(reply.body, type=answer)


def inprocess_slb_client(cloud: Cloud, *, sleep: Sleep = no_sleep) -> SlbClient:
    """Return a client of `cloud` for CLB."""
    caller = InProcessCaller(cloud, sleep=sleep)
    region_id = cloud.world.place.region_id
    return SlbClient(caller, region_id=region_id, slb_endpoint="inprocess")


def inprocess_nlb_client(cloud: Cloud, *, sleep: Sleep = no_sleep) -> NlbClient:
    """Return a client of `cloud` for NLB."""
    caller = InProcessCaller(cloud, sleep=sleep)
    region_id = cloud.world.place.region_id
    return NlbClient(caller, region_id=region_id, nlb_endpoint="inprocess")


def inprocess_source_groups(cloud: Cloud, *, sleep: Sleep = no_sleep) -> SourceGroupClient:
    """Return a client of `cloud` for security groups of load balancers."""
    caller = InProcessCaller(cloud, sleep=sleep)
    region_id = cloud.world.place.region_id
    return SourceGroupClient(caller, region_id=region_id, ecs_endpoint="inprocess")


def inprocess_ecs_client(cloud: Cloud, *, sleep: Sleep = no_sleep) -> EcsClient:
    """Return a client of `cloud`. Answers that are held back are awaited with `sleep`."""
    return EcsClient(
        InProcessCaller(cloud, sleep=sleep),
        region_id=cloud.world.place.region_id,
        ecs_endpoint="inprocess",
        vpc_endpoint="inprocess",
    )
