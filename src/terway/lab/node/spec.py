"""What must a node know before it starts? One value, written as JSON by the lab for the node.

Lean imports only: the node's init reads it too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node of the lab: the ECS instance, its primary ENI, and where the services are."""

    name: str
    lab: str
    region_id: str
    zone_id: str
    instance_id: str
    instance_type: str
    cpu: int
    memory_gib: float
    max_pods: int
    mac: str  # of the primary ENI, which the fabric plugs in as eth0
    addresses: tuple[str, ...]  # of eth0, with prefix length: "192.168.0.10/19"
    gateways: tuple[str, ...]  # of eth0's vSwitch, one a family
    api_server: str  # as programs on the node reach it: "http://100.100.0.20:6443"
    kubeconfig: str  # text for /etc/kubernetes/kubelet.conf
    ecs_endpoint: str  # of the OpenAPI, for terwayd's ECS_ENDPOINT and VPC_ENDPOINT
    log_dir: str  # of the machine; terwayd.log and node.log go there
    agent: bool = True  # whether terwayd runs here
    agent_argv: tuple[str, ...] = ()
    mtu_bytes: int = 1500
    agent_kubeconfig: str = ""  # text for terwayd, empty: it is whoever the kubelet is
    labels: dict[str, str] = field(default_factory=dict)  # of the Node, beside the usual ones

    @property
    def provider_id(self) -> str:
        """Return the cloud provider's name of the node, as its controller manager writes it."""
        return f"{self.region_id}.{self.instance_id}"

    def to_json(self) -> str:
        """Return the spec as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> NodeSpec:
        """Rebuild a spec from `to_json`."""
        raw = json.loads(text)
        for key in ("addresses", "gateways", "agent_argv"):
            raw[key] = tuple(raw[key])
        return cls(**raw)
