"""Leases that are not the pool's are journalled with it, and are nothing of it otherwise."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from terway.model.address import IPPair
from terway.model.attachment import Attachment, Lease, PodRef
from terway.model.ids import ENIId, MacAddress
from terway.model.interface import InterfaceSpec, OwnENI
from terway.model.moment import Moment
from tests.support.pool_world import owner
from tests.support.virtual_time import run_virtually
from tests.unit.agent.test_pool_service import Node, add

HELD = Attachment(
    key=owner(7),
    network="terway",
    netns="/n",
    pod=PodRef(namespace="shop", name="web-0"),
    lease=Lease(
        eni_id=ENIId("eni-of-a-pod"),
        eni_mac=MacAddress("00:16:3e:00:00:1f"),
        addresses=IPPair(v4=IPv4Address("10.9.9.9")),
    ),
    made_at=Moment(boot_id="b", seconds=1.0),
    spec=InterfaceSpec(
        own_eni=OwnENI(
            gateways=IPPair(v4=IPv4Address("10.9.9.253")),
            trunk_mac=MacAddress("00:16:3e:00:00:01"),
            vlan_id=7,
        )
    ),
)


def test_it_outlives_a_crash_and_is_no_address_of_the_pool():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            await service.hold(HELD)
            await add(service)
            before = service.status()

        async with node.agent() as service:
            assert service.attachment(HELD.key) == HELD
            assert len(service.attachments()) == 2
            assert service.status().bound == before.bound
            assert HELD.lease.eni_id not in {one.id for one in service.enis()}
            assert service.status().missing == ()

    run_virtually(scenario())


def test_what_is_released_is_forgotten_and_does_not_rest():
    async def scenario():
        node = Node()
        async with node.agent() as service:
            await service.hold(HELD)

            await service.release(HELD.key)

            assert service.attachments() == ()
            assert service.status().cooling == 0
        async with node.agent() as service:
            assert service.attachments() == ()

    run_virtually(scenario())


def test_limits_that_change_are_journalled_as_any_attachments():
    async def scenario():
        node = Node()
        changed = replace(HELD, spec=replace(HELD.spec, has_metadata=False))
        async with node.agent() as service:
            await service.hold(HELD)
            await service.change(changed)
        async with node.agent() as service:
            assert service.attachment(HELD.key) == changed

    run_virtually(scenario())
