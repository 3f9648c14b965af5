"""Connections are marked at once where a plugin maps ports, else once the node translates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from terway.agent.network import KernelNetwork
from terway.datapath.facts import Symmetric
from terway.linux.memory import MemoryKernel
from terway.model.ids import MacAddress
from tests.support.attachments import NODE_FACTS, dual_stack


class NoENIs:
    ready = ()

    def known(self, mac):
        return None


def node_with(symmetric):
    kernel = MemoryKernel()
    kernel.plug("eth0", MacAddress("00:16:3e:00:00:09"))
    facts = replace(NODE_FACTS, gateways=dual_stack(9), symmetric=symmetric)
    return kernel, KernelNetwork(cast("Any", kernel), facts, cast("Any", NoENIs()))


@pytest.mark.parametrize("waits", [False, True])
async def test_only_tables_that_do_not_wait_are_there_from_the_start(waits):
    kernel, network = node_with(Symmetric(waits=waits))

    await network.prepare()

    assert bool(kernel.tables) is not waits


async def test_tables_that_wait_come_when_somebody_translates_and_stay():
    kernel, network = node_with(Symmetric(waits=True))
    await network.prepare()
    assert not await network.settings_differ()

    kernel.translates = True
    assert await network.settings_differ()
    await network.prepare()
    kernel.translates = False
    await network.prepare()

    assert kernel.tables
    assert not await network.settings_differ()


async def test_a_node_that_is_told_not_to_mark_never_does():
    kernel, network = node_with(None)
    kernel.translates = True

    await network.prepare()

    assert not kernel.tables
