"""An agent in upstream's place: it gives pods addresses as upstream does, with its files and lock.

`python -m tests.support.upstream_agent` in the pod of upstream's DaemonSet: it holds
`terwayd.lock`, serves at `eni.socket`, has its plugin and its list on the host, journals in
`ResRelation.db`, and makes links, routes and rules by iproute2. One ENI, which is there.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terway.cloud.metadata import BASE_URL, MetadataClient, MetadataENI
from terway.cloud.openapi import open_session
from terway.model.address import IPPair
from terway.model.attachment import PodRef
from terway.model.ids import ContainerId, MacAddress
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType
from terway.store.upstream import parse_record, read_relations, record_of, write_relations
from tests.support.upstream_links import (
    configure_eni,
    host_link,
    mac_of,
    make_rules,
    make_veth,
    remove_rules,
    sh,
)

RUN, STATE = Path("/var/run/eni"), Path("/var/lib/cni/terway")
LIST = Path("/etc/cni/net.d/10-terway.conflist")
PLUGIN = Path("/opt/cni/bin/terway")
MOUNTS = (
    ("run", str(RUN)),
    ("state", str(STATE)),
    ("cni-conf", str(LIST.parent)),
    ("cni-bin", str(PLUGIN.parent)),
    ("netns", "/var/run/netns"),
)
_IFNAME = "eth1"
_CONFLIST = {
    "cniVersion": "0.4.0",
    "name": "terway-chainer",
    "plugins": [{"type": "terway", "eniip_virtual_type": "veth"}],
}
# Upstream's plugin asks its daemon; what it cannot reach, the kubelet asks again.
_SCRIPT = """#!/usr/bin/python3 -IS
import json, os, socket, sys
asked = {name: os.environ.get("CNI_" + name, "") for name in
         ("COMMAND", "CONTAINERID", "NETNS", "IFNAME", "ARGS")}
if asked["COMMAND"] == "VERSION":
    print(json.dumps({"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}))
    sys.exit(0)
sys.stdin.read()
try:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("/var/run/eni/eni.socket")
        sock.sendall(json.dumps(asked).encode() + b"\\n")
        said = sock.makefile().readline()
except OSError as error:
    said = json.dumps({"cniVersion": "0.4.0", "code": 11, "msg": str(error)})
print(said)
sys.exit(1 if "code" in json.loads(said or '{"code": 11}') else 0)
"""


@dataclass
class Agent:
    """What upstream's daemon does, as far as pods of one ENI need it."""

    eni: MetadataENI
    node: tuple[str, str]
    records: dict[str, bytes] = field(default_factory=dict)

    @property
    def table(self) -> int:
        return 1000 + socket.if_nametoindex(_IFNAME)

    @property
    def gateways(self) -> IPPair:
        return IPPair(v4=self.eni.gateway_v4, v6=self.eni.gateway_v6)

    def answer(self, asked: dict[str, str]) -> dict[str, Any]:
        args = dict(pair.split("=", 1) for pair in asked["ARGS"].split(";"))
        ref = PodRef(
            namespace=args["K8S_POD_NAMESPACE"],
            name=args["K8S_POD_NAME"],
            uid=args.get("K8S_POD_UID", ""),
        )
        if asked["COMMAND"] == "ADD":
            return self._add(ref, asked)
        if asked["COMMAND"] == "DEL":
            self._delete(ref, asked)
        return {"cniVersion": "0.4.0"}

    def _add(self, ref: PodRef, asked: dict[str, str]) -> dict[str, Any]:
        addresses = self._free()
        make_veth(asked["NETNS"], ref, addresses)
        for address in addresses:
            make_rules(address, self.table)
        self._write({**self.records, str(ref): record_of(self._pod(ref, addresses, asked))})
        ips = [
            {"version": str(ip.version), "address": f"{ip}/{ip.max_prefixlen}", "interface": 0}
            for ip in addresses
        ]
        there = {"name": asked["IFNAME"], "sandbox": asked["CONTAINERID"]}
        return {"cniVersion": "0.4.0", "interfaces": [there], "ips": ips}

    def _free(self) -> IPPair:
        pods = [parse_record(key, value) for key, value in self.records.items()]
        held = {ip for pod in pods for part in pod.interfaces for ip in part.addresses}
        own = {self.eni.primary_ipv4}
        return IPPair(
            v4=next(one for one in sorted(self.eni.ipv4) if one not in held | own),
            v6=next(one for one in sorted(self.eni.ipv6) if one not in held),
        )

    def _pod(self, ref: PodRef, addresses: IPPair, asked: dict[str, str]) -> UpstreamPod:
        assert self.eni.ipv6_cidr is not None
        interface = UpstreamInterface(
            ifname="eth0",
            device_mac=self.eni.mac,
            addresses=addresses,
            eni_id=self.eni.id,
            gateways=self.gateways,
            ranges=(self.eni.cidr, self.eni.ipv6_cidr),
        )
        return UpstreamPod(
            pod=ref,
            type=UpstreamType.ENI_MULTI_IP,
            container_id=ContainerId(asked["CONTAINERID"]),
            netns=asked["NETNS"],
            has_pod_eni=False,
            interfaces=(interface,),
        )

    def _delete(self, ref: PodRef, asked: dict[str, str]) -> None:
        record = self.records.get(str(ref))
        pod = None if record is None else parse_record(str(ref), record)
        if pod is None or pod.container_id != asked["CONTAINERID"]:
            return
        for address in pod.interfaces[0].addresses:
            remove_rules(address, self.table)
        sh(f"ip link del {host_link(ref)}")
        self._write({key: value for key, value in self.records.items() if key != str(ref)})

    def _write(self, records: dict[str, bytes]) -> None:
        self.records = records
        write_relations(STATE / "ResRelation.db", records)


async def main() -> None:
    """Be upstream's daemon until the pod ends."""
    with (RUN / "terwayd.lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                await asyncio.sleep(0.1)  # our terwayd has not left yet
        async with open_session() as session:
            found = await MetadataClient(session, base_url=BASE_URL).eni(
                MacAddress(mac_of(_IFNAME))
            )
        assert found is not None
        agent = Agent(
            eni=found,
            node=(_address(4), _address(6)),
            records=read_relations(STATE / "ResRelation.db"),
        )
        configure_eni(_IFNAME, agent.table, agent.gateways, agent.node)
        await _serve(agent)


def _address(version: int) -> str:
    """Return the node's own address of a family."""
    words = sh(f"ip -{version} -o address show dev eth0 scope global").split()
    return words[3].partition("/")[0]


async def _serve(agent: Agent) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        try:
            said = agent.answer(asked)
        except (AssertionError, StopIteration, OSError) as error:
            said = {"cniVersion": "0.4.0", "code": 11, "msg": repr(error)}
        writer.write(json.dumps(said).encode() + b"\n")
        writer.close()
        await writer.wait_closed()

    _install()
    server = await asyncio.start_unix_server(serve, path=str(RUN / "eni.socket"))
    _announce()
    await server.serve_forever()


def _install() -> None:
    """Put the plugin on the host; a socket of a daemon before this one goes."""
    (RUN / "eni.socket").unlink(missing_ok=True)
    PLUGIN.unlink(missing_ok=True)
    PLUGIN.write_text(_SCRIPT)
    PLUGIN.chmod(0o755)


def _announce() -> None:
    """Put the list there, which makes the node Ready: the daemon serves."""
    draft = LIST.with_suffix(".draft")
    draft.write_text(json.dumps(_CONFLIST))
    draft.rename(LIST)


if __name__ == "__main__":
    asyncio.run(main())
