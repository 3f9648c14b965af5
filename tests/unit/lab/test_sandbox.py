"""CNI requirement L2: the namespace is there before ADD, and goes after DEL, whatever fails."""

from __future__ import annotations

from typing import Any, cast

import pytest

from terway.lab.kubelet.podspec import Pod, PodMeta
from terway.lab.kubelet.sandbox import SandboxMaker, runtime_config
from terway.model.errors import TransientError, UsageError


class Log:
    """A spawner and a network that write down what they are asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.netns: set[str] = set()
        self.add_error: TransientError | None = None

    async def make_sandbox(self, *, net: str, uts: str, ipc: str, hostname: str) -> None:
        self.calls.append("namespaces")
        self.netns.add(net)

    async def add(self, attach: Any) -> dict[str, Any]:
        self.calls.append("ADD")
        self.netns.add(attach.netns)
        if self.add_error is not None:
            raise self.add_error
        return {"ips": [{"address": "192.168.32.1/32"}]}

    async def delete(self, container_id: str, netns: str) -> None:
        self.calls.append("DEL")
        self.netns.add(netns)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def maker(log: Log, monkeypatch: pytest.MonkeyPatch) -> SandboxMaker:
    def note(sandbox: object) -> None:
        log.calls.append("unpin")

    monkeypatch.setattr("terway.lab.kubelet.sandbox._unpin", note)
    return SandboxMaker(cast("Any", log), cast("Any", log), host_ips=())


def pod() -> Pod:
    return Pod(metadata=PodMeta(name="p", namespace="default", uid="u"))


async def test_L2_the_namespace_comes_first_and_goes_last(log: Log, maker: SandboxMaker) -> None:
    sandbox = await maker.make(pod(), hostname="p")
    await maker.remove(sandbox)

    assert log.calls == ["namespaces", "ADD", "DEL", "unpin"]
    assert log.netns == {sandbox.path("net")}


async def test_L2_after_a_failed_ADD_there_is_a_DEL_and_no_namespace(
    log: Log, maker: SandboxMaker
) -> None:
    log.add_error = TransientError("the pool is empty")

    with pytest.raises(TransientError, match="the pool is empty"):
        await maker.make(pod(), hostname="p")

    assert log.calls[:3] == ["namespaces", "ADD", "DEL"]
    assert log.calls[-1] == "unpin"
    assert maker.attachments() == set()


def test_a_bandwidth_that_is_no_quantity_names_its_annotation() -> None:
    annotations = {"kubernetes.io/egress-bandwidth": "banana"}
    asking = Pod(metadata=PodMeta(name="p", namespace="default", annotations=annotations))

    with pytest.raises(UsageError) as refused:
        runtime_config(asking)

    path = "pods/default/p/annotations/kubernetes.io/egress-bandwidth"
    assert str(refused.value).startswith(f"{path}: 'banana' is not a quantity")
