"""What does a node say of the policies that it enforces? PolicyNodeStatus, one object a node.

Cluster-scoped, named as its node; written by terwayd alone, read by `terway-cli policy status`.
"""

from __future__ import annotations

from terway.kube.resource import Resource
from terway.kube.types import KubeObject, _Value


class PolicyInForce(_Value, frozen=True, kw_only=True):
    """One policy that selects pods of the node. `message` is a fault, or a caution.

    `generation` is the one that the node's packet filter has; `in_force` is false while the filter
    does not have it, and for a policy that could not be read, of which it makes a refusal.
    """

    kind: str
    namespace: str = ""
    name: str
    uid: str = ""
    generation: int = 0
    pods: int = 0
    in_force: bool = False
    message: str = ""


class PolicyReport(_Value, frozen=True, kw_only=True):
    """`status` of a PolicyNodeStatus.

    `observed_at` is when something of it last changed. `differences` is how many the last
    comparison of wish and kernel found; `message` says why the node lags behind, if it does.
    """

    observed_at: str = ""
    differences: int = 0
    message: str = ""
    policies: tuple[PolicyInForce, ...] = ()


class PolicyNodeStatus(KubeObject, frozen=True, kw_only=True):
    """network.alibabacloud.com/v1beta1 PolicyNodeStatus; `status` has no subresource."""

    status: PolicyReport = PolicyReport()


POLICY_NODE_STATUSES = Resource(
    group="network.alibabacloud.com",
    version="v1beta1",
    plural="policynodestatuses",
    kind="PolicyNodeStatus",
    namespaced=False,
    read_as=PolicyNodeStatus,
)
