"""The lab's CNI runtime, with Debian's reference plugins at the other end.

Tests that are named by a number hold a requirement of the specification on the runtime.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from terway.lab.kubelet.cnicache import ResultCache
from terway.lab.kubelet.network import Attach, CniNetwork
from terway.model.errors import CapacityError, UsageError, VpcError

DEBIAN = Path("/usr/lib/cni")
pytestmark = pytest.mark.root

# Writes down how it was called, passes prevResult on, and fails where a file tells it to.
RECORDER = """#!/bin/sh
dir=$(dirname "$0"); conf=$(cat)
printf '%s %s\\n' "$(basename "$0")" "$CNI_COMMAND" >> "$dir/calls"
printf '%s' "$conf" > "$dir/$(basename "$0").$CNI_COMMAND.json"
env | grep ^CNI_ > "$dir/$(basename "$0").$CNI_COMMAND.env"
if [ -e "$dir/fail.$(basename "$0").$CNI_COMMAND" ]; then
    cat "$dir/fail.$(basename "$0").$CNI_COMMAND"; exit 1; fi
[ "$CNI_COMMAND" = ADD ] && printf '{"cniVersion":"1.1.0","ips":[{"address":"192.168.1.2/24"}]}'
exit 0
"""


class Bench:
    """A configuration folder, a program folder and a network namespace."""

    def __init__(self, root: Path, netns: str) -> None:
        self.root, self.netns = root, netns
        self.conf, self.bin = root / "net.d", root / "bin"
        self.conf.mkdir()
        self.bin.mkdir()
        self.cache = ResultCache(root / "results")
        self.network = CniNetwork(conf_dir=self.conf, bin_dir=self.bin, cache=self.cache)

    def configure(self, **conf: object) -> None:
        (self.conf / "10-net.conflist").write_text(json.dumps(conf))

    def recorder(self, *names: str) -> None:
        for name in names:
            path = self.bin / name
            path.write_text(RECORDER)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def attach(self, **more: object) -> Attach:
        return Attach(container_id="c1", netns=self.netns, **more)  # type: ignore[arg-type]

    def calls(self) -> list[str]:
        path = self.bin / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def inside(self, *command: str) -> str:
        words = ["nsenter", f"--net={self.netns}", *command]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def stdin(self, plugin: str, verb: str) -> dict[str, Any]:
        conf: dict[str, Any] = json.loads((self.bin / f"{plugin}.{verb}.json").read_text())
        return conf


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    name = f"cni-{uuid.uuid4().hex[:12]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield Bench(tmp_path, f"/run/netns/{name}")
    subprocess.run(["ip", "netns", "del", name], check=True)


def reference_chain(bench: Bench, *, version: str) -> None:
    for plugin in ("ptp", "host-local", "portmap"):
        (bench.bin / plugin).symlink_to(DEBIAN / plugin)
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": "10.5.0.0/24"}]],
        "dataDir": str(bench.root / "ipam"),
    }
    bench.configure(
        cniVersion=version,
        name="ref",
        plugins=[
            {"type": "ptp", "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    )


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
async def test_the_reference_plugins_give_a_container_an_address_and_take_it_back(
    bench: Bench, version: str
) -> None:
    reference_chain(bench, version=version)

    result = await bench.network.add(bench.attach())

    shown = bench.inside("ip", "-br", "address", "show", "eth0")
    assert result["ips"][0]["address"] in shown
    await bench.network.check("c1")

    await bench.network.delete("c1", bench.netns)

    assert not list((bench.root / "ipam" / "ref").glob("10.*"))
    assert bench.cache.find("c1", "eth0") is None


async def test_check_fails_when_the_interface_is_gone(bench: Bench) -> None:
    reference_chain(bench, version="1.0.0")
    await bench.network.add(bench.attach())

    bench.inside("ip", "link", "del", "eth0")

    with pytest.raises(VpcError):
        await bench.network.check("c1")
    await bench.network.delete("c1", bench.netns)


async def test_L4_a_mapped_port_is_asked_of_the_plugin_that_declares_it(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(
        cniVersion="1.1.0",
        name="net",
        plugins=[{"type": "one"}, {"type": "two", "capabilities": {"portMappings": True}}],
    )
    mapping = [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}]

    await bench.network.add(bench.attach(runtime={"portMappings": mapping, "bandwidth": {}}))

    assert "runtimeConfig" not in bench.stdin("one", "ADD")
    assert bench.stdin("two", "ADD")["runtimeConfig"] == {"portMappings": mapping}
    assert "capabilities" not in bench.stdin("two", "ADD")


async def test_L4_a_chain_is_added_in_order_and_deleted_in_reverse(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}, {"type": "two"}])

    await bench.network.add(bench.attach(args={"K8S_POD_NAME": "a", "IgnoreUnknown": "1"}))
    await bench.network.delete("c1", bench.netns)

    assert bench.calls() == ["one ADD", "two ADD", "two DEL", "one DEL"]
    assert "prevResult" not in bench.stdin("one", "ADD")
    stdins = [bench.stdin(plugin, verb) for plugin in ("one", "two") for verb in ("ADD", "DEL")]
    assert {(one["cniVersion"], one["name"]) for one in stdins} == {("1.1.0", "net")}
    assert bench.stdin("two", "ADD")["prevResult"]["ips"] == [{"address": "192.168.1.2/24"}]
    assert bench.stdin("one", "DEL")["prevResult"] == bench.stdin("two", "DEL")["prevResult"]
    env = (bench.bin / "one.ADD.env").read_text()
    assert "CNI_ARGS=K8S_POD_NAME=a;IgnoreUnknown=1" in env
    assert f"CNI_NETNS={bench.netns}" in env


async def test_a_failed_add_is_followed_by_del_and_raises_the_first_error(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}, {"type": "two"}])
    error = {"cniVersion": "1.1.0", "code": 11, "msg": "try again", "details": "pool empty"}
    (bench.bin / "fail.two.ADD").write_text(json.dumps(error))

    with pytest.raises(CapacityError, match="pool empty"):
        await bench.network.add(bench.attach())

    assert bench.calls() == ["one ADD", "two ADD", "two DEL", "one DEL"]


async def test_L3_del_uses_the_configuration_that_add_had(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one", "mine": "old"}])
    await bench.network.add(bench.attach())

    bench.configure(cniVersion="1.1.0", name="other", plugins=[{"type": "two", "mine": "new"}])
    await bench.network.delete("c1", bench.netns)

    assert bench.calls() == ["one ADD", "one DEL"]
    assert bench.stdin("one", "DEL")["mine"] == "old"


async def test_del_of_what_was_never_added_calls_nobody(bench: Bench) -> None:
    bench.recorder("one")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])

    await bench.network.delete("c1", bench.netns)

    assert bench.calls() == []


async def test_G6_gc_deletes_what_is_stale_and_names_what_is_valid(bench: Bench) -> None:
    bench.recorder("one")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])
    await bench.network.add(bench.attach())
    await bench.network.add(Attach(container_id="c2", netns=bench.netns))

    await bench.network.collect(lambda: {("c2", "eth0")})

    assert bench.calls() == ["one ADD", "one ADD", "one DEL", "one GC"]
    valid = bench.stdin("one", "GC")["cni.dev/valid-attachments"]
    assert valid == [{"containerID": "c2", "ifname": "eth0"}]


async def test_G6_gc_waits_for_an_add_under_way_and_asks_for_the_list_after_it(
    bench: Bench,
) -> None:
    bench.recorder("one")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])
    gate = bench.bin / "gate"
    os.mkfifo(gate)
    plugin = bench.bin / "one"
    plugin.write_text(plugin.read_text().replace("conf=$(cat)", f"conf=$(cat); cat {gate}", 1))
    asked: list[bool] = []

    async with asyncio.TaskGroup() as tasks:
        adding = tasks.create_task(bench.network.add(bench.attach()))
        plugin_waits = await asyncio.to_thread(os.open, gate, os.O_WRONLY)

        def list_valid() -> set[tuple[str, str]]:
            asked.append(adding.done())
            return {("c1", "eth0")}

        tasks.create_task(bench.network.collect(list_valid))
        await asyncio.sleep(0)
        os.close(plugin_waits)
        await adding
        # GC is the next to run the program, and waits at the gate as well
        os.close(await asyncio.to_thread(os.open, gate, os.O_WRONLY))

    assert asked == [True]
    assert bench.calls() == ["one ADD", "one GC"]


@pytest.mark.parametrize(
    ("conf", "verbs"),
    [
        ({"cniVersion": "1.1.0", "disableCheck": True, "disableGC": True}, []),
        ({"cniVersion": "1.0.0"}, ["one CHECK"]),
        ({"cniVersion": "0.3.1"}, []),
        ({"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.1.0"]}, ["one CHECK", "one GC"]),
    ],
)
async def test_C4_check_and_gc_are_called_where_version_and_configuration_allow(
    bench: Bench, conf: dict[str, object], verbs: list[str]
) -> None:
    bench.recorder("one")
    bench.configure(**conf, name="net", plugins=[{"type": "one"}])
    await bench.network.add(bench.attach())

    await bench.network.check("c1")
    await bench.network.collect(lambda: {("c1", "eth0")})

    assert bench.calls() == ["one ADD", *verbs]


async def test_status_says_what_the_first_unready_plugin_says(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}, {"type": "two"}])
    (bench.bin / "fail.one.STATUS").write_text('{"code": 50, "msg": "no daemon"}')

    with pytest.raises(UsageError, match="no daemon"):
        await bench.network.status()

    assert bench.calls() == ["one STATUS"]


async def test_C5_C6_plugins_in_a_folder_of_the_networks_name_join_that_chain_alone(
    bench: Bench,
) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])
    (bench.conf / "net").mkdir()
    (bench.conf / "net" / "20-two.conf").write_text('{"type": "two"}')
    (bench.conf / "other").mkdir()
    (bench.conf / "other" / "10-one.conf").write_text('{"type": "one"}')

    await bench.network.add(bench.attach())

    assert bench.calls() == ["one ADD", "two ADD"]
    assert bench.stdin("two", "ADD")["name"] == "net"


async def test_C6_a_plugin_that_joins_is_held_to_the_same_rules(bench: Bench) -> None:
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])
    (bench.conf / "net").mkdir()
    (bench.conf / "net" / "20-two.conf").write_text('{"type": "../two"}')

    with pytest.raises(UsageError, match="name of a program"):
        bench.network.load()


async def test_C3_a_name_is_one_network_even_where_two_files_have_it(bench: Bench) -> None:
    # The runtime has one network, the first file's: another of its name is never looked at.
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])
    second = {"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "two"}]}
    (bench.conf / "20-net.conflist").write_text(json.dumps(second))

    await bench.network.add(bench.attach())
    await bench.network.delete("c1", bench.netns)

    assert bench.calls() == ["one ADD", "one DEL"]


async def test_K9_check_has_the_final_result_and_comes_between_add_and_del(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}, {"type": "two"}])

    await bench.network.check("c1")
    result = await bench.network.add(bench.attach())
    await bench.network.check("c1")
    await bench.network.delete("c1", bench.netns)
    await bench.network.check("c1")

    checks = [call for call in bench.calls() if "CHECK" in call]
    assert checks == ["one CHECK", "two CHECK"]
    assert bench.stdin("one", "CHECK")["prevResult"] == result


async def test_K9_check_stops_at_the_first_error(bench: Bench) -> None:
    bench.recorder("one", "two")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}, {"type": "two"}])
    await bench.network.add(bench.attach())
    (bench.bin / "fail.one.CHECK").write_text('{"code": 102, "msg": "the route is gone"}')

    with pytest.raises(VpcError, match="the route is gone"):
        await bench.network.check("c1")

    assert "two CHECK" not in bench.calls()


async def test_L2_the_final_result_outlives_the_runtime_until_del(bench: Bench) -> None:
    bench.recorder("one")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])
    result = await bench.network.add(bench.attach())

    cache = ResultCache(bench.root / "results")
    restarted = CniNetwork(conf_dir=bench.conf, bin_dir=bench.bin, cache=cache)
    kept = cache.find("c1", "eth0")
    assert kept is not None
    assert kept.result == result

    await restarted.delete("c1", bench.netns)
    assert cache.find("c1", "eth0") is None


async def test_the_first_valid_file_is_the_network(bench: Bench) -> None:
    (bench.conf / "05-broken.conf").write_text("{")
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": "one"}])

    assert bench.network.load().name == "net"


async def test_an_empty_folder_is_a_network_that_is_not_ready(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no networks found"):
        bench.network.load()


@pytest.mark.parametrize("kind", ["../evil", "a/b", ""])
async def test_C7_a_plugin_type_that_is_a_path_is_refused(bench: Bench, kind: str) -> None:
    bench.configure(cniVersion="1.1.0", name="net", plugins=[{"type": kind}])

    with pytest.raises(UsageError, match="name of a program"):
        bench.network.load()


async def test_C8_C10_reserved_keys_of_a_file_never_reach_a_plugin_and_others_do(
    bench: Bench,
) -> None:
    bench.recorder("one")
    plugin = {"type": "one", "runtimeConfig": {"x": 1}, "cni.dev/valid-attachments": [], "own": 1}
    bench.configure(cniVersion="1.1.0", name="net", plugins=[plugin])

    await bench.network.add(bench.attach())

    assert bench.stdin("one", "ADD") == {
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "one",
        "own": 1,
    }
    assert os.environ.get("CNI_COMMAND") is None
