"""The keys of `eni_conf` about the node's pool: how many addresses, of what, and when they go."""

from __future__ import annotations

from terway.config.choices import ENISelection
from terway.config.declare import Key, Reload
from terway.config.kinds import Duration, Flag, Number, OneOf, Whole

MAX_POOL_SIZE: Key[int] = Key(
    name="max_pool_size",
    kind=Whole(),
    default=0,
    unit="pods",
    meaning="Most free addresses kept for pods to come",
    reload=Reload.AT_ONCE,
)
MIN_POOL_SIZE: Key[int] = Key(
    name="min_pool_size",
    kind=Whole(),
    default=0,
    unit="pods",
    meaning="Fewest free addresses kept for pods to come",
    reload=Reload.AT_ONCE,
)
IP_WARM_UP_SIZE: Key[int] = Key(
    name="ip_warm_up_size",
    kind=Whole(),
    default=0,
    unit="pods",
    meaning="Addresses that a new node gets once, before its first pods come",
    reload=Reload.RESTART,
)
MIN_ENI: Key[int] = Key(
    name="min_eni",
    kind=Whole(),
    default=0,
    unit="ENIs",
    meaning="ENIs whose addresses are kept free; goes before min_pool_size",
    reload=Reload.AT_ONCE,
)
MAX_ENI: Key[int] = Key(
    name="max_eni",
    kind=Whole(),
    default=0,
    default_words="what the instance type allows",
    unit="ENIs",
    meaning="Most ENIs for pods",
    reload=Reload.AT_ONCE,
)
ENI_CAP_RATIO: Key[float] = Key(
    name="eni_cap_ratio",
    kind=Number(),
    default=1.0,
    meaning="Share of the instance type's ENIs that is Terway's",
    reload=Reload.AT_ONCE,
)
ENI_CAP_SHIFT: Key[int] = Key(
    name="eni_cap_shift",
    kind=Whole(minimum=None),
    default=0,
    unit="ENIs",
    meaning="Added to Terway's share of the ENIs; negative leaves some to others",
    reload=Reload.AT_ONCE,
)
ENI_SELECTION: Key[ENISelection] = Key(
    name="eni_selection_policy",
    kind=OneOf(ENISelection),
    default=ENISelection.MOST_IPS,
    meaning="Which ENI a pod's address comes from: the one with most pods (so that others become "
    "empty), or with fewest",
    reload=Reload.AT_ONCE,
)
IP_POOL_SYNC_PERIOD: Key[float] = Key(
    name="ip_pool_sync_period",
    kind=Duration(),
    default=120.0,
    unit="s",
    meaning="How often the cloud is asked what there is, and how long a surplus stays",
    reload=Reload.AT_ONCE,
)
IP_COOLDOWN_PERIOD: Key[float] = Key(
    name="ip_cooldown_period",
    kind=Duration(),
    default=30.0,
    unit="s",
    meaning="How long an address rests before another pod gets it",
    reload=Reload.AT_ONCE,
    is_ours=True,
)
RECLAIM_AFTER: Key[float | None] = Key(
    name="idle_ip_reclaim_after",
    kind=Duration(),
    default=None,
    default_words="never",
    unit="s",
    meaning="A pool that nobody touched for so long shrinks to min_pool_size",
    reload=Reload.AT_ONCE,
)
RECLAIM_INTERVAL: Key[float] = Key(
    name="idle_ip_reclaim_interval",
    kind=Duration(),
    default=600.0,
    unit="s",
    meaning="Time between two steps of that",
    reload=Reload.AT_ONCE,
)
RECLAIM_BATCH: Key[int] = Key(
    name="idle_ip_reclaim_batch_size",
    kind=Whole(),
    default=5,
    unit="pods",
    meaning="Addresses that go in one step",
    reload=Reload.AT_ONCE,
)
RECLAIM_JITTER: Key[float] = Key(
    name="idle_ip_reclaim_jitter_factor",
    kind=Number(allows_zero=True, maximum=1.0, as_text=True),
    default=0.1,
    meaning="Share of the interval by which chance lengthens it, so that nodes differ",
    reload=Reload.AT_ONCE,
)
ENABLE_IP_PREFIX: Key[bool] = Key(
    name="enable_ip_prefix",
    kind=Flag(),
    default=False,
    meaning="ENIs get /28 (IPv4) and /80 (IPv6) prefixes instead of single addresses",
    reload=Reload.RESTART,
)
IPV4_PREFIX_COUNT: Key[int] = Key(
    name="ipv4_prefix_count",
    kind=Whole(),
    default=0,
    unit="prefixes",
    meaning="How many /28 prefixes the node has: 16 pods each; the kubelet's maxPods has to agree",
    reload=Reload.AT_ONCE,
)
IPV6_PREFIX_COUNT: Key[int] = Key(
    name="ipv6_prefix_count",
    kind=Whole(maximum=1),
    default=0,
    unit="prefixes",
    meaning="How many /80 prefixes a node with IPv6 only has; in dual stack each ENI has one",
    reload=Reload.AT_ONCE,
)

KEYS: tuple[Key[object], ...] = (
    MAX_POOL_SIZE,
    MIN_POOL_SIZE,
    IP_WARM_UP_SIZE,
    MIN_ENI,
    MAX_ENI,
    ENI_CAP_RATIO,
    ENI_CAP_SHIFT,
    ENI_SELECTION,
    IP_POOL_SYNC_PERIOD,
    IP_COOLDOWN_PERIOD,
    RECLAIM_AFTER,
    RECLAIM_INTERVAL,
    RECLAIM_BATCH,
    RECLAIM_JITTER,
    ENABLE_IP_PREFIX,
    IPV4_PREFIX_COUNT,
    IPV6_PREFIX_COUNT,
)
