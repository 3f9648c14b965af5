"""The machine of a history: what its kernel does with devices when namespaces and ENIs go."""

from __future__ import annotations

import pytest

from terway.linux.memory import MemoryKernel
from terway.model.ids import MacAddress
from terway.model.network import NODE, MoveLink, Netns, RenameLink

MAC = MacAddress("00:16:3e:00:00:07")
POD = Netns("/ns/pod")


@pytest.fixture
async def kernel():
    kernel = MemoryKernel()
    kernel.create_netns(POD)
    kernel.plug("eth0", MacAddress("00:16:3e:00:00:01"))
    kernel.plug("eth1", MAC)
    await kernel.apply(
        [
            MoveLink(name="eth1", source=NODE, target=POD),
            RenameLink(netns=POD, name="eth1", new_name="eth0"),
        ]
    )
    return kernel


async def test_a_device_falls_back_to_the_node_under_a_name_that_is_free(kernel):
    kernel.delete_netns(POD)

    found = await kernel.find_link(MAC)
    assert found is not None
    assert (found.name, found.is_up) == ("dev0", False)


async def test_an_eni_is_unplugged_from_the_pod_that_has_its_device(kernel):
    kernel.pull(MAC)
    kernel.delete_netns(POD)

    assert await kernel.find_link(MAC) is None
    assert {one.name for one in await kernel.links()} == {"lo", "eth0"}
