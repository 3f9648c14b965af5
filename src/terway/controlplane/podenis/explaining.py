"""What does a refusal of the cloud mean to whoever wrote a PodNetworking, and what is to be done?

The cloud names an action and an id. People wrote a PodNetworking, eni-config or an annotation, and
that is what they can change: so it is named, with its field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from terway.cloud.errors import without_remedy
from terway.config.requested_networks import networkings_of
from terway.controlplane.controller import Informers
from terway.controlplane.podenis.making import NO_PLACE
from terway.controlplane.podenis.words import networks_of
from terway.controlplane.podenis.world import ClusterWorld
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.crds import PodENI
from terway.model.errors import CapacityError, UsageError, VpcError
from terway.model.pod_network import PodNetwork
from terway.podeni.settings import Defaults

_AGAIN = "and delete the pod, which keeps the network that it was made with"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One list of ids that a network has, and where it can be written."""

    spec: str
    conf: str
    of: Callable[[PodNetwork], Sequence[str]]
    default: Callable[[Defaults], Sequence[str]]


_GROUPS = _Field(
    spec="securityGroupIDs",
    conf="security_groups",
    of=lambda network: network.security_group_ids,
    default=lambda defaults: defaults.security_group_ids,
)
_VSWITCHES = _Field(
    spec="vSwitchOptions",
    conf="vswitches",
    of=lambda network: network.vswitch_ids,
    default=lambda defaults: defaults.vswitch_ids,
)
# By the beginning of the code: whose fault it is, and what to do. The first that fits counts.
# Source: API error center, ECS 2014-05-26.
_MEANINGS: tuple[tuple[str, _Field | None, str], ...] = (
    ("InvalidSecurityGroupId", _GROUPS, f"name security groups that exist, {_AGAIN}"),
    ("InvalidOperation.VpcMismatch", _GROUPS, f"name groups of the vSwitches' VPC, {_AGAIN}"),
    ("SecurityGroupInstanceLimitExceed", _GROUPS, "the group is full: name one with room for more"),
    ("InvalidVSwitchId.NotFound", _VSWITCHES, f"name vSwitches that exist, {_AGAIN}"),
    ("InvalidVSwitch.Ipv6NotTurnOn", _VSWITCHES, "give the vSwitch an IPv6 range"),
    ("InvalidVSwitchId.IpNotEnough", _VSWITCHES, "add a vSwitch with free addresses"),
    ("QuotaExceeded.PrivateIpAddress", _VSWITCHES, "add a vSwitch with free addresses"),
    (NO_PLACE, _VSWITCHES, "add a vSwitch of the pod's zone that exists and has free addresses"),
    (
        "InvalidOperation.AvailabilityZoneMismatch",
        _VSWITCHES,
        "name vSwitches of the zone of the pod's node, or put the pod on a node of theirs",
    ),
    (
        "EniPerInstanceLimitExceeded",
        None,
        "the node has no slot left for this ENI: put the pod on another node, or wait for one",
    ),
    ("Quota", None, "ask the cloud for a higher quota of ENIs, or delete some that nobody needs"),
)


class Explainer:
    """Explains refusals by what the cluster's people wrote."""

    def __init__(self, world: ClusterWorld, informers: Informers) -> None:
        self._world = world
        self._pods = informers.of(WATCHED_PODS)

    def explain(self, error: VpcError, found: PodENI) -> VpcError:
        """Return the refusal of a PodENI's ENIs in words that say what to change; else as is."""
        text = self.text_of(error, found)
        if text is None:
            return error
        if isinstance(error, CapacityError):
            return CapacityError(text, retry_after_s=error.retry_after_s, code=error.code)
        return UsageError(text, code=error.code) if isinstance(error, UsageError) else error

    def text_of(self, error: VpcError, found: PodENI) -> str | None:
        """Return what to say of a refusal; None where it is not about what people wrote."""
        meaning = next((one for one in _MEANINGS if error.code.startswith(one[0])), None)
        if meaning is None:
            return None
        _, field, remedy = meaning
        said = without_remedy(error)
        where = "" if field is None else f"{self._where(field, said, found)}: "
        return f"{where}{remedy} ({said})"

    def _where(self, field: _Field, said: str, found: PodENI) -> str:
        """Return who wrote the ids that the cloud refused; all of them, where it names none."""
        ids = [one for network in networks_of(found).values() for one in field.of(network)]
        named = list(dict.fromkeys(one for one in ids if one in said)) or list(dict.fromkeys(ids))
        return f"{', '.join(named)} in {self._owner(field, named, found)}"

    def _owner(self, field: _Field, ids: Sequence[str], found: PodENI) -> str:
        names = self._networkings_with(field, ids, found)
        if names:
            return f"spec.{field.spec} of PodNetworking {', '.join(names)}"
        if set(ids) <= set(field.default(self._world.defaults())):
            return f"{field.conf} of eni-config"
        return f"{field.spec} of the pod's annotation pod-networks"

    def _networkings_with(self, field: _Field, ids: Sequence[str], found: PodENI) -> list[str]:
        """Return which of the pod's PodNetworkings name one of `ids`; others' are not its own."""
        metadata = found.metadata
        pod = self._pods.get(metadata.name, namespace=metadata.namespace)
        its = frozenset() if pod is None else networkings_of(pod.metadata.annotations)
        return sorted(
            one.name
            for one in self._world.networkings()
            if one.name in its and not set(ids).isdisjoint(field.of(one.network))
        )
