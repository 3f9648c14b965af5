"""The keys of the ConfigMap eni-config itself: two files in JSON, and switches."""

from __future__ import annotations

from terway.config.declare import Effect, Key, Reload
from terway.config.kinds import Anything, Text

ENI_CONF, CONF, CONFLIST = "eni_conf", "10-terway.conf", "10-terway.conflist"
_SWITCH = Text(words='"true" or "false"')

DISABLE_NETWORK_POLICY: Key[str] = Key(
    name="disable_network_policy",
    kind=_SWITCH,
    default="",
    default_words="false",
    meaning='NetworkPolicy is enforced if it is absent, "false", "0" or empty',
    reload=Reload.RESTART,
)
IN_CLUSTER_LOADBALANCE: Key[str] = Key(
    name="in_cluster_loadbalance",
    kind=_SWITCH,
    default="",
    default_words="false",
    meaning="Pods reach the cluster's own load balancers without leaving the cluster",
    effect=Effect.NONE,
    why="kube-proxy leads pods to services, here and outside",
)
FELIX_RELAY_SERVICE: Key[str] = Key(
    name="felix_relay_service",
    kind=Text(),
    default="",
    meaning="Service of Typha, for Felix",
    effect=Effect.NONE,
    why="no Felix runs here",
)

KEYS: tuple[Key[object], ...] = (
    Key(
        name=ENI_CONF,
        kind=Anything(),
        default="",
        default_words="required",
        meaning="JSON: the main settings",
        reload=Reload.AT_ONCE,
    ),
    Key(
        name=CONF,
        kind=Anything(),
        default="",
        default_words="required",
        meaning="JSON: the CNI configuration of one plugin, ours",
        reload=Reload.RESTART,
    ),
    Key(
        name=CONFLIST,
        kind=Anything(),
        default="",
        meaning="JSON: the whole chain of plugins; goes before 10-terway.conf",
        reload=Reload.RESTART,
    ),
    DISABLE_NETWORK_POLICY,
    IN_CLUSTER_LOADBALANCE,
    FELIX_RELAY_SERVICE,
)
FILES = tuple(key.name for key in KEYS)
