"""Labs as a whole: how they come, live beside each other, and go without a trace."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from terway.kube.resource import CONFIG_MAPS, NODES
from terway.lab.cloud.transitions import Delays
from terway.lab.world.client import LabClient, start_lab
from terway.lab.world.lab import open_lab
from terway.lab.world.paths import ROOT, LabPaths, leftovers, list_labs, sweep
from terway.lab.world.paths import ROOT as LABS
from terway.lab.world.plan import LabPlan
from terway.lab.world.processes import read_record
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import IPStack
from terway.model.eni import ENIType
from terway.model.errors import TransientError, UsageError
from tests.lab.plain import open_plain_lab

pytestmark = pytest.mark.lab


def short_name() -> str:
    return f"w{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What a lab could leave behind on its machine."""

    links: frozenset[str]
    mounts: tuple[str, ...]
    processes: frozenset[str]
    files: frozenset[str]


def traces() -> Traces:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    own = {one for one in Path("/proc").glob("[0-9]*") if _is_ours(one)}
    return Traces(
        links=frozenset(os.listdir("/sys/class/net")),
        mounts=tuple(sorted(mounts)),
        processes=frozenset(one.name for one in own),
        files=frozenset(_files_below(Path("/run"))),
    )


def _files_below(folder: Path) -> Iterator[str]:
    """Yield what is in a folder.

    Left out are control groups, which are the kernel's, and other tests' as well, and what is in
    the folder of a lab: another one may run.
    """
    for path in folder.iterdir():
        if path.name == ".cgroup":
            continue
        yield str(path)
        if path.is_dir() and not path.is_symlink() and folder != LABS:
            yield from _files_below(path)


def _is_ours(entry: Path) -> bool:
    """Whether a process descends from this one: other tests run at the same time."""
    try:
        return f"PPid:\t{os.getpid()}\n" in (entry / "status").read_text()
    except OSError:
        return False


@pytest.fixture(scope="module")
def served() -> Iterator[LabClient]:
    client = start_lab(LabPlan(name=short_name(), nodes=1), lambda text: None)
    yield client
    client.down()


async def test_a_lab_leaves_no_link_mount_process_or_file() -> None:
    """Bug class 60: what tests leave behind."""
    before = traces()

    async with open_lab(name=short_name(), nodes=2) as lab:
        await lab.pod("a")
        during = traces()

    after = traces()
    assert after == before
    assert during.links == before.links


async def test_a_lab_whose_start_fails_leaves_nothing() -> None:
    before = traces()

    with pytest.raises(UsageError, match="does not exist"):
        async with open_lab(name=short_name(), nodes=1, instance_type="ecs.none.large"):
            pass

    assert traces() == before


async def test_two_labs_side_by_side_do_not_see_each_other() -> None:
    async with (
        open_lab(name=short_name(), nodes=1) as one,
        open_lab(name=short_name(), nodes=1) as two,
    ):
        a, b = await asyncio.gather(one.pod("a"), two.pod("a"))

        # the same addresses, in two worlds
        assert one.instances["node-1"].ipv4 == two.instances["node-1"].ipv4
        assert a.netns_path != b.netns_path
        assert {lab.name for lab in list_labs()} >= {one.plan.name, two.plan.name}


async def test_a_lab_without_ipv6_has_pods_without_it() -> None:
    async with open_lab(name=short_name(), nodes=1, stack=IPStack.IPV4) as lab:
        pod = await lab.pod("a")

        assert pod.addresses.v4 is not None
        assert pod.addresses.v6 is None


async def test_nodes_come_and_go_with_their_instances_and_enis() -> None:
    async with open_lab(name=short_name(), nodes=1) as lab:
        enis = lab.cloud.world.state.enis
        await lab.add_node("extra")
        await lab.wait_ready("extra")
        pod = await lab.pod("a", node="extra")
        instance = lab.instances["extra"].id
        assert [eni for eni in enis.values() if eni.instance_id == instance]

        await lab.remove_node("extra")

        assert await lab.kube.get(NODES, "extra") is None
        assert instance not in lab.cloud.world.state.instances
        assert not [eni for eni in enis.values() if pod.addresses.v4 in eni.ipv4 and eni.is_plugged]


async def test_a_node_that_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_lab(name=short_name(), nodes=1) as lab:
        monkeypatch.setattr(sys, "executable", "/bin/false")

        with pytest.raises(TransientError, match="did not start"):
            await lab.add_node("extra")

        monkeypatch.undo()
        # Of the primary ones: the pool of the node that is there may grow meanwhile.
        enis = lab.cloud.world.state.enis.values()
        (primary,) = (eni for eni in enis if eni.type is ENIType.PRIMARY)
        assert primary.instance_id == lab.instances["node-1"].id
        folder = lab.paths.node("node-1")
        assert list(folder.parent.iterdir()) == [folder]
        assert set(lab.instances) == {"node-1"}


async def test_a_lab_that_began_without_nodes_can_get_one() -> None:
    async with open_lab(name=short_name(), nodes=0) as lab:
        await lab.add_node("first")

        await lab.wait_ready("first")


async def test_a_lab_of_cloud_alone_refuses_nodes_at_once() -> None:
    async with open_lab(name=short_name(), nodes=0, cloud_only=True) as lab:
        with pytest.raises(UsageError, match="--cloud-only"):
            await lab.add_node("first")


async def test_nobodys_way_to_the_network_becomes_an_instance() -> None:
    async with open_plain_lab(name=short_name(), nodes=1) as lab:
        own = "/proc/self/ns/net"
        for path in (own, lab.node("node-1").netns_path, lab.fabric.vpc_netns_path):
            with pytest.raises(UsageError, match="this network namespace is"):
                await lab.attach_instance("mine", path)

        assert set(lab.instances) == {"node-1"}


async def test_a_namespace_of_somebody_else_becomes_an_instance() -> None:
    name = f"mine-{uuid.uuid4().hex[:8]}"
    await run("ip", "netns", "add", name)
    path = f"/run/netns/{name}"
    async with open_plain_lab(name=short_name(), nodes=1) as lab:
        instance = await lab.attach_instance("mine", path)
        node = lab.node("node-1").spec.addresses[0].partition("/")[0]

        await run("nsenter", f"--net={path}", "ping", "-c1", "-w20", node)
        await lab.node("node-1").exec("ping", "-c1", "-w20", str(instance.ipv4))
        await lab.detach_instance("mine")

        assert (await run("nsenter", f"--net={path}", "ls", "/sys/class/net")).split() == ["lo"]
    await run("ip", "netns", "del", name)


async def test_another_api_server_can_take_the_place_of_the_embedded_one() -> None:
    async with open_lab(name=short_name(), nodes=0) as outside:
        config = str(outside.services.kubeconfig_path)
        async with open_lab(name=short_name(), nodes=1, kubeconfig=config) as lab:
            assert lab.services.cluster is None
            pod = await lab.pod("a")

            assert [node.metadata.name for node in (await outside.kube.list(NODES)).items] == [
                "node-1"
            ]
            assert pod.addresses.v6 is not None

        assert not (await outside.kube.list(NODES)).items
        assert await outside.kube.get(CONFIG_MAPS, "eni-config", namespace="kube-system") is None


async def test_a_cloud_that_is_slow_only_makes_the_lab_slow() -> None:
    delays = Delays(attach_s=2.0, assign_s=0.2, start_s=0.5)

    async with open_lab(name=short_name(), nodes=1, delays=delays) as lab:
        assert (await lab.pod("a")).addresses.v4 is not None


async def test_a_node_that_dies_is_told_and_does_not_end_the_lab() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with open_lab(name=short_name(), nodes=1, progress=told.put_nowait) as lab:
        node = lab.node("node-1")
        await node.exec("sh", "-c", "kill -KILL 2", check=False)

        async with asyncio.timeout(PATIENCE_S):
            while not (await told.get()).startswith("node node-1 has ended"):
                pass
        with pytest.raises(TransientError, match="has ended"):
            await node.request("pod", namespace="default", name="x")


def test_a_lab_in_the_background_answers_the_command_line(served: LabClient) -> None:
    name = served.paths.name

    nodes = command("nodes", "--name", name).splitlines()
    facts = json.loads(command("nodes", "--name", name, "--json"))
    address = command("exec", "--name", name, "node-1", "hostname")
    status = json.loads(command("status", "--name", name, "--json"))
    listed = command("kubectl", "--name", name, "get", "nodes", "-o", "name")

    assert nodes[1].split()[:3] == ["node-1", "Ready", facts[0]["instance_id"]]
    assert address == "node-1\n"
    assert status["vpc"]["cidr"] == "192.168.0.0/16"
    assert listed == "node/node-1\n"
    assert name in command("list")


def test_a_tool_on_a_node_writes_into_the_folder_of_its_user(
    served: LabClient, tmp_path: Path
) -> None:
    command("run", "--name", served.paths.name, "node-1", "touch", "written", cwd=tmp_path)

    assert (tmp_path / "written").exists()


def test_a_lab_without_agents_is_up_before_another_plugin_is_there() -> None:
    client = start_lab(LabPlan(name=short_name(), nodes=1, agent=False), lambda text: None)
    try:
        assert not client.status()["nodes"][0]["ready"]
        assert not client.request("POST", "/nodes", {"name": "extra"})["ready"]
        assert "--no-agent" in refusal("restart-agent", "--name", client.paths.name, "extra")
    finally:
        client.down()


def test_an_agent_is_restarted_from_the_command_line(served: LabClient) -> None:
    before = served.status()["nodes"][0]

    command("restart-agent", "--kill", "--name", served.paths.name, "node-1")

    after = served.status()["nodes"][0]
    assert after["agent_starts"] == before["agent_starts"] + 1
    assert after["agent_pid"] != before["agent_pid"]


@pytest.mark.parametrize("name", ["../../evil", "/tmp/x", "Upper", "a.b", "-a", "a" * 64])
def test_a_name_that_is_no_host_name_is_refused(served: LabClient, name: str) -> None:
    for path, body in (
        ("/nodes", {"name": name}),
        ("/instances", {"name": name, "netns": "/proc/self/ns/net"}),
    ):
        with pytest.raises(UsageError, match="instance name"):
            served.request("POST", path, body)


@pytest.mark.parametrize("name", ["../../tmp/x", "a/b", "ö ?&"])
def test_a_node_of_any_name_that_is_not_there_is_told(served: LabClient, name: str) -> None:
    with pytest.raises(UsageError, match="no node is named"):
        served.words(name.replace("/", "-"))
    for words in (["remove-node"], ["restart-agent"]):
        assert "no node is named" in refusal(*words, "--name", served.paths.name, name)


def test_a_process_that_fails_unexpectedly_says_where() -> None:
    plan = LabPlan(name=short_name(), nodes=cast("int", "two"))

    with pytest.raises(UsageError, match="which it should not") as caught:
        start_lab(plan, lambda text: None)

    assert "Error" in str(caught.value)
    assert "File " in str(caught.value)


def test_manifests_from_the_command_line_run(served: LabClient, tmp_path: Path) -> None:
    name = served.paths.name
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hello"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {"name": "c", "image": "busybox", "command": ["sh", "-c", "echo hello; sleep 60"]}
            ],
        },
    }
    (tmp_path / "pod.json").write_text(json.dumps(manifest))

    command("kubectl", "--name", name, "apply", "-f", str(tmp_path / "pod.json"))
    wait = ("wait", "--for=condition=Ready", "pod/hello", "--timeout=120s")
    command("kubectl", "--name", name, *wait)

    asked = (command("kubectl", "--name", name, "logs", "hello") for _ in range(100))
    # It is Ready when it has begun, not when it has spoken.
    assert next(filter(None, asked), "") == "hello\n"
    for target in ("default/hello", "default/h…o"):
        assert "192.168.32." in command("exec", "--name", name, target, "ip", "address")


def test_a_second_lab_of_the_same_name_is_refused(served: LabClient) -> None:
    with pytest.raises(UsageError, match="terway-lab down"):
        start_lab(LabPlan(name=served.paths.name, nodes=0), lambda text: None)


def test_a_lab_in_the_background_goes_without_a_trace() -> None:
    before = traces()
    client = start_lab(LabPlan(name=short_name(), nodes=1), lambda text: None)

    assert client.down()

    assert leftovers(client.paths) == []
    # the server was our child; it is gone, and so is its folder
    assert traces().files == before.files
    assert traces().mounts == before.mounts
    assert not client.down()


def test_a_killed_server_takes_its_nodes_along_and_is_swept_away() -> None:
    """Bug class 60, after a crash."""
    client = start_lab(LabPlan(name=short_name(), nodes=2), lambda text: None)
    pids = [node["pid"] for node in client.status()["nodes"]]
    ends = [os.pidfd_open(pid) for pid in pids]
    record = read_record(client.paths.pid_file)
    assert record is not None

    record.send(signal.SIGKILL)
    for fd in ends:
        assert select.select([fd], [], [], PATIENCE_S)[0], "a node outlived its lab"
        os.close(fd)

    assert client.paths.folder.exists()
    assert sweep() == [client.paths.name]
    assert leftovers(client.paths) == []
    with pytest.raises(UsageError, match="not running"):
        client.status()


def test_a_sweep_leaves_living_labs_alone(served: LabClient) -> None:
    assert served.paths.name not in sweep()
    assert LabPaths(name=served.paths.name, root=ROOT).is_alive()
    assert served.status()["name"] == served.paths.name


def command(*words: str, cwd: Path | None = None) -> str:
    done = run_cli(words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(*words: str) -> str:
    done = run_cli(words)
    assert done.returncode == 1, done.stdout
    return done.stderr


def run_cli(words: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "terway.lab.cli", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def run(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{words}: {output.decode()}"
    return output.decode()
