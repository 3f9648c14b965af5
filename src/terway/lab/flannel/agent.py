"""The node daemon of a Flannel-style network: publishes its node, follows the others.

Node ──podCIDR──► publish myself ──► own link, NAT, CNI configuration ──► follow the other nodes
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random

from terway.agent.install import install_conflist
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.connection import read_kubeconfig
from terway.kube.informer import Informer
from terway.kube.resource import ObjectKey
from terway.lab.flannel.kubernetes import BLOCK_NODES, BlockNode
from terway.lab.flannel.plan import (
    CLUSTER_NETWORK,
    VXLAN_LINK,
    Backend,
    Ground,
    Peer,
    conflist,
    masquerade,
    node_annotations,
    peer_commands,
    peer_of,
    setup_commands,
    vtep_mac,
)
from terway.lab.flannel.vpc import open_vpc_routes
from terway.lab.world.node import run_command
from terway.linux.kernel import open_kernel
from terway.model.address import Family
from terway.model.errors import TransientError

CONFLIST = Path("/etc/cni/net.d/10-flannel.conflist")


class Flanneld:
    """The daemon of one node."""

    def __init__(self, client: KubeClient, name: str, backend: Backend) -> None:
        self._client = client
        self._name = name
        self._backend = backend
        self._nodes = Informer(client, BLOCK_NODES, backoff=Backoff(Random()))
        self._known: dict[str, Peer] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run())
            me = await self._publish(await self._block())
            await self._prepare(me)
            with self._nodes.subscribe() as changes:
                async for change in changes:
                    await self._follow(change.key, change.new)

    async def _block(self) -> IPv4Network:
        """Wait for the controller manager to give the node a block."""
        with self._nodes.subscribe() as changes:
            async for change in changes:
                if change.key.name == self._name and change.new and change.new.spec.pod_cidr:
                    return IPv4Network(change.new.spec.pod_cidr)
        raise TransientError(f"node {self._name} was never given a block")

    async def _publish(self, block: IPv4Network) -> Ground:
        async with open_kernel() as kernel:
            uplink = await kernel.uplink(Family.V4)
            links = {link.name: link for link in await kernel.links()}
        if uplink is None or not isinstance(uplink.address, IPv4Address):
            raise TransientError("the node has no IPv4 default route", code="NoRoute")
        me = Peer(
            name=self._name,
            address=uplink.address,
            block=block,
            vtep_mac=vtep_mac(self._name),
        )
        patch = {"metadata": {"annotations": node_annotations(me, self._backend)}}
        await self._client.patch(BLOCK_NODES, self._name, patch)
        mtu_bytes = links[uplink.link].mtu_bytes
        return Ground(me=me, uplink=uplink.link, mtu_bytes=mtu_bytes, backend=self._backend)

    async def _prepare(self, ground: Ground) -> None:
        await run_command(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        if VXLAN_LINK not in {name for _, name in socket.if_nameindex()}:
            await _batch("ip", setup_commands(ground))
        await run_command(["nft", "-f", "-"], stdin=masquerade(CLUSTER_NETWORK))
        if self._backend is Backend.VPC:
            async with open_vpc_routes(os.environ["ECS_ENDPOINT"]) as routes:
                await routes.lead_here(ground.me.block)
        install_conflist(CONFLIST, conflist(ground))

    async def _follow(self, key: ObjectKey, node: BlockNode | None) -> None:
        """Lead to a node that came or changed, not any more to one that went."""
        if key.name == self._name or self._backend is Backend.VPC:
            return  # the VPC itself knows where the blocks are
        gone = self._known.pop(key.name, None)
        peer = None
        if node is not None:
            peer = peer_of(key.name, node.spec.pod_cidr, node.metadata.annotations)
        if gone is not None and (peer is None or peer.block != gone.block):
            await _batch("ip", [f"route flush {gone.block} dev {VXLAN_LINK}"])
        if peer is None:
            return
        self._known[key.name] = peer
        for program, line in peer_commands([peer]):
            await _batch(program, [line])


async def _batch(program: str, lines: Iterable[str]) -> None:

    await run_command([program, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


async def run(backend: Backend) -> None:
    """Run the daemon of this node, as its environment names it, until cancelled."""
    connection = read_kubeconfig(Path(os.environ["KUBECONFIG"]))
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(KubeClient(connection))
        await Flanneld(client, os.environ["NODE_NAME"], backend).run()
