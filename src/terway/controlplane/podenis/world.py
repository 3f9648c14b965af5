"""What does the control plane know of the cluster, for questions about pods' networks?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
import structlog

from terway.config.choices import VSwitchSelection
from terway.config.eni_conf import EniConf
from terway.config.findings import ConfigError
from terway.config.pod_networking import parse_pod_networking
from terway.controlplane.controller import Informers
from terway.kube import crds
from terway.kube.resource import NAMESPACES
from terway.model.ids import VSwitchId, ZoneId
from terway.model.pod_network import PodNetworking, VSwitchChoice
from terway.podeni.settings import Defaults

_log = structlog.get_logger("podenis")
_CHOICES = {choice.value: choice for choice in VSwitchChoice}


class ClusterWorld:
    """PodNetworkings, namespaces and eni-config, as they are now."""

    def __init__(
        self,
        informers: Informers,
        conf: Callable[[], EniConf | None],
        known_zones: Callable[[], Mapping[VSwitchId, ZoneId]] = dict,
    ) -> None:
        self._networkings = informers.of(crds.POD_NETWORKINGS)
        self._namespaces = informers.of(NAMESPACES)
        self._conf = conf
        self._known_zones = known_zones
        self._read: dict[str, tuple[str, PodNetworking | None]] = {}  # by name: of which version

    def networkings(self) -> Iterator[PodNetworking]:
        """Yield the PodNetworkings that can be read; the webhook lets in no others."""
        for found in self._networkings.objects.values():
            networking = self._networking(found)
            if networking is not None:
                yield networking

    def networkings_until(self, moment: str) -> Iterator[PodNetworking]:
        """Yield those with selectors that were there at a moment, in the API's words."""
        for found in self._networkings.objects.values():
            if found.spec.selector is None or (found.metadata.creation_timestamp or "") > moment:
                continue
            networking = self._networking(found)
            if networking is not None:
                yield networking

    def _networking(self, found: crds.PodNetworking) -> PodNetworking | None:
        """Return what a PodNetworking says; each version of it is read once."""
        name, version = found.metadata.name, found.metadata.resource_version
        read, networking = self._read.get(name, ("", None))
        if not version or read != version:
            networking = _parsed(found)
            self._read[name] = (version, networking)
        return networking

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace."""
        found = self._namespaces.get(namespace)
        return {} if found is None else found.metadata.labels

    def defaults(self) -> Defaults:
        """Return what networks have that say nothing."""
        conf = self._conf()
        if conf is None:
            return Defaults()
        listed = (one for zone in sorted(conf.vswitches) for one in conf.vswitches[zone])
        choice = _choice(conf.vswitch_selection)
        return Defaults(
            vswitch_ids=tuple(listed),
            security_group_ids=conf.security_group_ids,
            resource_group_id=conf.resource_group_id,
            vswitch_choice=choice,
        )

    def zones(self) -> Mapping[VSwitchId, ZoneId]:
        """Return where vSwitches are: by the cloud, by PodNetworkings, by eni-config."""
        conf = self._conf()
        listed = {} if conf is None else conf.vswitches
        found = {one: zone for zone, ids in listed.items() for one in ids}
        for networking in self.networkings():
            found.update(networking.zones)
        return {**found, **self._known_zones()}


def _parsed(found: crds.PodNetworking) -> PodNetworking | None:
    try:
        return read_networking(found)
    except ConfigError as error:
        _log.warning("podenis.networking_refused", name=found.metadata.name, error=str(error))
        return None


def _choice(selection: VSwitchSelection) -> VSwitchChoice:
    return _CHOICES.get(selection.value, VSwitchChoice.ORDERED)


def read_networking(found: crds.PodNetworking) -> PodNetworking:
    """Return a PodNetworking. Raises ConfigError for one that makes no sense."""
    # As it came: lists, not tuples, and no more keys than were written.
    spec, status = msgspec.json.decode(msgspec.json.encode((found.spec, found.status)))
    return parse_pod_networking(found.metadata.name, spec, status)
