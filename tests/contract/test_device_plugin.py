"""A kubelet learns how many ENIs a node has, by real gRPC over unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from terway.agent.device_plugin import KUBELET, DevicePlugin
from terway.agent.device_plugin_wire import (
    AllocateRequest,
    Devices,
    RegisterRequest,
)
from tests.support.fake_kubelet import allocate, fake_kubelet, listed

RESOURCE = "aliyun/member-eni"
OFTEN_S = 0.01


@asynccontextmanager
async def running(folder: Path, count=lambda: 3) -> AsyncIterator[None]:
    plugin = DevicePlugin(RESOURCE, count, folder=folder, look_every_s=OFTEN_S)
    task = asyncio.ensure_future(plugin.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def folder() -> Iterator[Path]:
    # The path of a unix socket has 107 bytes, which a test's own folder may have used up.
    with TemporaryDirectory(prefix="terway-", dir="/tmp") as short:
        yield Path(short) / "device-plugins"


async def test_a_kubelet_is_told_of_the_resource_and_lists_its_devices(folder):
    async with fake_kubelet(folder) as kubelet, running(folder):
        request = await kubelet.registered.get()

        assert (request.version, request.resource) == ("v1beta1", RESOURCE)
        async with kubelet.plugin(request) as channel:
            async with listed(channel) as told:
                ids = await anext(told)
            assert ids == ("member-eni-0", "member-eni-1", "member-eni-2")
            assert await allocate(channel, ids[:1], ids[1:]) == 2


async def test_another_number_is_told_while_it_is_watched(folder):
    count = 2
    async with fake_kubelet(folder) as kubelet, running(folder, lambda: count):
        request = await kubelet.registered.get()
        async with kubelet.plugin(request) as channel, listed(channel) as told:
            assert len(await anext(told)) == 2
            count = 5
            assert len(await anext(told)) == 5


async def test_a_kubelet_that_starts_again_is_told_again(folder):
    async with running(folder):
        for _ in range(2):
            async with fake_kubelet(folder) as kubelet:
                request = await kubelet.registered.get()
                async with kubelet.plugin(request) as channel, listed(channel) as told:
                    assert len(await anext(told)) == 3


async def test_a_kubelet_that_refuses_is_asked_until_it_does_not(folder):
    folder.mkdir()
    (folder / KUBELET).touch()  # what a kubelet left that was killed
    async with running(folder), fake_kubelet(folder) as kubelet:
        assert (await kubelet.registered.get()).resource == RESOURCE


async def test_what_ends_leaves_no_socket(folder):
    async with fake_kubelet(folder) as kubelet:
        async with running(folder):
            await kubelet.registered.get()

        assert [one.name for one in folder.glob("terway-*")] == []


@pytest.mark.parametrize(
    "message",
    [
        RegisterRequest(endpoint="terway-eni.sock", resource="aliyun/eni"),
        Devices(ids=tuple(f"eni-{number}" for number in range(300))),
        AllocateRequest(containers=(("a", "b"), ())),
    ],
)
def test_messages_are_read_as_they_were_written(message):
    assert type(message).decode(message.encode()) == message


def test_fields_that_are_not_ours_are_skipped():
    topology = b"\x18\x07" + b"\x21" + bytes(8) + b"\x2d" + bytes(4)

    assert Devices.decode(topology + Devices(ids=("eni-0",)).encode()).ids == ("eni-0",)


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x0a", b"\x80", b"\x0b"])
def test_what_is_cut_off_is_no_message(data):
    with pytest.raises(ValueError, match=r"cut off|wire type"):
        Devices.decode(data)
