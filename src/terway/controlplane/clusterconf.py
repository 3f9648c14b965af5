"""What does eni-config say for the whole cluster? As it is now; the nodes' own parts are theirs."""

from __future__ import annotations

import structlog

from terway.config.document import decode_object
from terway.config.eni_conf import EniConf, read_eni_conf_into
from terway.config.findings import ConfigError, Report
from terway.config.keys_map import ENI_CONF
from terway.config.schema import CONFIG_MAP
from terway.controlplane.informers import SharedInformers
from terway.kube.client import Selector
from terway.kube.informer import Informer
from terway.kube.resource import CONFIG_MAPS
from terway.kube.types import ConfigMap

_log = structlog.get_logger("config")


def follow_conf(informers: SharedInformers, namespace: str) -> Informer[ConfigMap]:
    """Return the informer of eni-config; asking makes it part of what is waited for."""
    one = Selector(fields=f"metadata.name={CONFIG_MAP}")
    return informers.of(CONFIG_MAPS, namespace=namespace, selector=one)


class ClusterConf:
    """eni-config, followed. What cannot be read changes nothing, and is logged once."""

    def __init__(self, informer: Informer[ConfigMap], *, namespace: str) -> None:
        self._informer = informer
        self._namespace = namespace
        self._text: str | None = None
        self._read: EniConf | None = None

    def current(self) -> EniConf | None:
        """Return it as it could be read last; None where there never was one."""
        found = self._informer.get(CONFIG_MAP, namespace=self._namespace)
        text = found.data.get(ENI_CONF) if found is not None else None
        if text is not None and text != self._text:
            self._text = text
            try:
                self._read = parse_eni_conf(text)
            except ConfigError as error:
                _log.error("config.eni_config_refused", error=str(error))
        return self._read


def parse_eni_conf(text: str) -> EniConf:
    """Return what `eni_conf` says. Raises ConfigError with all that cannot be right."""
    report = Report()
    raw = decode_object(text, ENI_CONF, report) or {}
    conf = read_eni_conf_into(report, raw)
    report.raise_refusals()
    return conf
