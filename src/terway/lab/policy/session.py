"""Who brings the lab for cases, and takes away what they leave? A running one is used again."""

from __future__ import annotations

import fcntl
import json
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from enum import Enum

from terway.config.keys_map import CONF, ENI_CONF
from terway.config.schema import CONFIG_MAP
from terway.kube.client import KubeClient
from terway.kube.connection import Connection, read_kubeconfig
from terway.kube.resource import CONFIG_MAPS
from terway.lab.policy.placement import LARGE_TYPE, TRUNK_TYPE
from terway.lab.policy.stage import Stage
from terway.lab.policy.world import LabWorld
from terway.lab.world.client import LabClient, start_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, LabPlan, NodePool
from terway.linux.ipvlan_support import ipvlan_lacks
from terway.model.address import Family
from terway.model.errors import UsageError

Progress = Callable[[str], None]
VIRTUAL_TYPE = "eniip_virtual_type"
TRUNKING = "enable_eni_trunking"
_NODES = 3


class CaseMode(Enum):
    """How pods get at their ENI, and so what judges their packets."""

    VETH = "veth"
    EXCLUSIVE = "exclusive"
    EXCLUSIVE_EBPF = "exclusive-ebpf"
    DATAPATHV2 = "datapathv2"
    IPVLAN = "ipvlan"
    TRUNK = "trunk"
    TRUNK_EBPF = "trunk-ebpf"

    @property
    def is_exclusive(self) -> bool:
        """Return whether pods have an ENI each."""
        return self in (CaseMode.EXCLUSIVE, CaseMode.EXCLUSIVE_EBPF)

    @property
    def has_members(self) -> bool:
        """Return whether pods are members of their node's trunk."""
        return self in (CaseMode.TRUNK, CaseMode.TRUNK_EBPF)

    @property
    def virtual_type(self) -> str:
        """Return what nodes are configured with: in eBPF or not, where pods have an ENI each."""
        match self:
            case CaseMode.EXCLUSIVE | CaseMode.TRUNK:
                return CaseMode.VETH.value
            case CaseMode.EXCLUSIVE_EBPF | CaseMode.TRUNK_EBPF:
                return CaseMode.DATAPATHV2.value
            case CaseMode.VETH | CaseMode.DATAPATHV2 | CaseMode.IPVLAN:
                return str(self.value)


def find_lab(name: str, *, mode: CaseMode, progress: Progress) -> LabClient:
    """Return a running lab, or bring one up that stays.

    Raises UsageError where this kernel, which all nodes of a lab have, cannot have the mode.
    """
    _check_kernel(mode)
    client = LabClient(name)
    if client.paths.is_alive():
        return client
    progress(f"no lab {name!r} is running: bringing one up, which stays")
    return start_lab(plan_for(name, mode), progress)


def plan_for(name: str, mode: CaseMode) -> LabPlan:
    """Return a lab whose pods are of a mode."""
    pool = NodePool(
        name="eni",
        nodes=_NODES if mode.is_exclusive else 0,
        instance_type=LARGE_TYPE,
        labels=EXCLUSIVE_LABELS,
    )
    plan = LabPlan(
        name=name,
        nodes=0 if mode.is_exclusive else _NODES,
        pools=(pool,),
        cni={VIRTUAL_TYPE: mode.virtual_type},
    )
    if not mode.has_members:
        return plan
    return replace(plan, instance_type=TRUNK_TYPE, control_plane=True, eni_conf={TRUNKING: True})


def _check_kernel(mode: CaseMode) -> None:
    lacks = ipvlan_lacks() if mode is CaseMode.IPVLAN else ""
    if lacks:
        text = f"{lacks}; nodes would have datapathv2, which is tried by --mode datapathv2"
        guest = "or run it in a guest kernel (docs/design/ipvlan.md says how)"
        raise UsageError(f"{text}; {guest}", field="--mode")


@asynccontextmanager
async def open_stage(
    client: LabClient, *, mode: CaseMode, family: Family | None, progress: Progress
) -> AsyncIterator[Stage]:
    """Open a lab for cases; its policies and labels are as before afterwards.

    Raises UsageError where the lab's nodes are configured for another mode.
    """
    _allow_many_sockets()
    with _alone_in(client):
        async with KubeClient(_connection(client)) as kube:
            await _check_mode(kube, mode)
            stage = Stage(
                LabWorld(client),
                kube,
                is_exclusive=mode.is_exclusive,
                has_members=mode.has_members,
                leads_services=mode.virtual_type != CaseMode.VETH.value,
                family=family,
                progress=progress,
            )
            await stage.open()
            try:
                yield stage
            finally:
                await stage.close()


async def _check_mode(kube: KubeClient, mode: CaseMode) -> None:
    found = await kube.get(CONFIG_MAPS, CONFIG_MAP, namespace="kube-system")
    files = (found.data if found is not None else None) or {}
    configured = json.loads(files.get(CONF, "{}")).get(VIRTUAL_TYPE, CaseMode.VETH.value)
    if configured != mode.virtual_type:
        text = f"the lab's nodes have {VIRTUAL_TYPE} {configured}, and {mode.value} asks for "
        raise UsageError(f"{text}{mode.virtual_type}; take another lab by --name", field="--mode")
    if mode.has_members and not json.loads(files.get(ENI_CONF, "{}")).get(TRUNKING):
        text = f"the lab's nodes have no trunk, and {mode.value} asks for {TRUNKING} true"
        raise UsageError(f"{text}; take another lab by --name", field="--mode")


@contextmanager
def _alone_in(client: LabClient) -> Iterator[None]:
    """Keep others from running cases in the lab for the block: they would change the policies."""
    with (client.paths.folder / "policy.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"somebody runs policy cases in lab {client.paths.name!r} already; wait, or take "
                "another lab by --name",
                field="--name",
            ) from error
        yield


def _connection(client: LabClient) -> Connection:
    """Return the way to the lab's API server; with --kubeconfig it is somebody else's."""
    if client.paths.api_socket.exists():
        return Connection(server=f"unix://{client.paths.api_socket}")
    return read_kubeconfig(client.paths.kubeconfig)


def _allow_many_sockets() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
