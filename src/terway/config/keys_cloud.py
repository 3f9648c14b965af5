"""The keys of `eni_conf` about the cloud: whose account, which vSwitches, how ENIs are made."""

from __future__ import annotations

from collections.abc import Mapping

from terway.config.choices import IPAMType, VSwitchSelection
from terway.config.declare import Effect, Key, Record, Reload, Values
from terway.config.kinds import Duration, ListOf, MapOf, Number, OneOf, Text, Whole

MAX_SECURITY_GROUPS = 10

_VSWITCH = Text(pattern="vsw-.+", words='the id of a vSwitch: "vsw-…"')
_GROUP = Text(pattern="sg-.+", words='the id of a security group: "sg-…"')
_ONE_GROUP = Text(pattern="(sg-.+)?", words=_GROUP.words)

ACCESS_KEY: Key[str] = Key(
    name="access_key",
    kind=Text(),
    default="",
    meaning="Id of the access key that signs calls. The files of a secret mounted at "
    "/var/alibaba-addon-secret go before it; without any, it is the instance's RAM role",
    reload=Reload.RESTART,
)
ACCESS_SECRET: Key[str] = Key(
    name="access_secret",
    kind=Text(),
    default="",
    meaning="Secret of the access key",
    reload=Reload.RESTART,
)
CREDENTIAL_PATH: Key[str] = Key(
    name="credential_path",
    kind=Text(),
    default="",
    meaning="File with an encrypted token that another component keeps fresh; access_key and a "
    "mounted secret go before it",
    reload=Reload.RESTART,
)
REGION_ID: Key[str] = Key(
    name="region_id",
    kind=Text(),
    default="",
    default_words="the instance's own",
    meaning="Region whose API is called",
    reload=Reload.RESTART,
)
VSWITCHES: Key[Mapping[str, tuple[str, ...]]] = Key(
    name="vswitches",
    kind=MapOf(of=ListOf(of=_VSWITCH), keys="zone"),
    default={},
    default_words="the vSwitch of the primary ENI",
    meaning="vSwitches that pods' ENIs come from, by zone",
    reload=Reload.NEW_ENIS,
)
VSWITCH_SELECTION: Key[VSwitchSelection] = Key(
    name="vswitch_selection_policy",
    kind=OneOf(VSwitchSelection),
    default=VSwitchSelection.RANDOM,
    meaning="Which vSwitch of the zone a new ENI comes from: any, the first of the list with "
    "room, or the one with most free addresses",
    reload=Reload.NEW_ENIS,
)
SECURITY_GROUP: Key[str] = Key(
    name="security_group",
    kind=_ONE_GROUP,
    default="",
    meaning="A security group of pods' ENIs, beside security_groups",
    reload=Reload.AT_ONCE,
)
SECURITY_GROUPS: Key[tuple[str, ...]] = Key(
    name="security_groups",
    kind=ListOf(of=_GROUP),
    default=(),
    default_words="those of the primary ENI",
    meaning=f"Security groups of pods' ENIs, {MAX_SECURITY_GROUPS} at most",
    reload=Reload.AT_ONCE,
)
ENI_TAGS: Key[Mapping[str, str]] = Key(
    name="eni_tags",
    kind=MapOf(of=Text(), keys="key"),
    default={},
    meaning="Tags of ENIs that Terway creates, beside creator=terway",
    reload=Reload.NEW_ENIS,
)
ENI_TAG_FILTER: Key[Mapping[str, str]] = Key(
    name="eni_tag_filter",
    kind=MapOf(of=Text(), keys="key"),
    default={},
    meaning="Only ENIs that carry all of these tags are Terway's",
    reload=Reload.AT_ONCE,
)
TAG_KEY: Key[str] = Key(
    name="key",
    kind=Text(pattern=".+", words="the key of a tag: name it"),
    default="",
    meaning="Key",
)
TAG_VALUE: Key[str] = Key(name="value", kind=Text(), default="", meaning="Value")
ENI_TAG_BLOCK_LIST: Key[tuple[Values, ...]] = Key(
    name="eni_tag_block_list",
    kind=ListOf(of=Record(keys=(TAG_KEY, TAG_VALUE))),
    default=(),
    default_words="creator=alibabacloud-erdma-controller and "
    "terway.alibabacloud.com/excluded=true, always",
    meaning="ENIs with one of these tags are left alone",
    reload=Reload.AT_ONCE,
)
RESOURCE_GROUP_ID: Key[str] = Key(
    name="resource_group_id",
    kind=Text(),
    default="",
    default_words="the account's default",
    meaning="Resource group of ENIs that Terway creates",
    reload=Reload.NEW_ENIS,
)
IPAM_TYPE: Key[IPAMType] = Key(
    name="ipam_type",
    kind=OneOf(IPAMType),
    default=IPAMType.NODE,
    default_words="the node itself",
    meaning="Who sees to it that a node has addresses: the node (`default`), or "
    "terway-controlplane (`crd`); then no credentials of the cloud are needed on the node",
    reload=Reload.RESTART,
)
# The cloud's actions are named in API documentation; a name that no call has limits nothing.
RATE_LIMIT: Key[Mapping[str, int]] = Key(
    name="rate_limit",
    kind=MapOf(of=Whole(minimum=1), keys="action"),
    default={},
    unit="calls per minute",
    meaning="Most calls of an action of the cloud's API, beside the budget that adapts to its "
    "throttling",
    reload=Reload.AT_ONCE,
)
BACKOFF_DURATION: Key[float | None] = Key(
    name="duration", kind=Duration(takes_ns=True), default=None, unit="s", meaning="The first wait"
)
BACKOFF_INITIAL: Key[float | None] = Key(
    name="initialDelay",
    kind=Duration(takes_ns=True),
    default=None,
    unit="s",
    meaning="Wait before the first try",
)
BACKOFF_FACTOR: Key[float | None] = Key(
    name="factor", kind=Number(), default=None, meaning="What the wait is multiplied with each time"
)
BACKOFF_JITTER: Key[float | None] = Key(
    name="jitter",
    kind=Number(allows_zero=True),
    default=None,
    meaning="Share of the wait that chance adds",
)
BACKOFF_STEPS: Key[int | None] = Key(
    name="steps", kind=Whole(minimum=1), default=None, meaning="How many tries"
)
BACKOFF_CAP: Key[float | None] = Key(
    name="cap", kind=Duration(takes_ns=True), default=None, unit="s", meaning="The longest wait"
)
BACKOFF_OVERRIDE: Key[Mapping[str, Values]] = Key(
    name="backoff_override",
    kind=MapOf(
        of=Record(
            keys=(
                BACKOFF_DURATION,
                BACKOFF_INITIAL,
                BACKOFF_FACTOR,
                BACKOFF_JITTER,
                BACKOFF_STEPS,
                BACKOFF_CAP,
            )
        )
    ),
    default={},
    meaning="Waits between tries, by the name of what is tried: eni_create, eni_ops, …",
    effect=Effect.NONE,
    why="waits double from 1 s to 60 s, and adapt to the cloud's throttling",
)
KUBE_CLIENT_QPS: Key[float] = Key(
    name="kube_client_qps",
    kind=Number(allows_zero=True),
    default=0.0,
    default_words="no limit",
    unit="requests per second",
    meaning="Most requests to the Kubernetes API; watches are not counted",
    reload=Reload.RESTART,
)
KUBE_CLIENT_BURST: Key[int] = Key(
    name="kube_client_burst",
    kind=Whole(),
    default=0,
    unit="requests",
    meaning="Most requests to the Kubernetes API at once, where kube_client_qps limits them",
    reload=Reload.RESTART,
)

KEYS: tuple[Key[object], ...] = (
    ACCESS_KEY,
    ACCESS_SECRET,
    CREDENTIAL_PATH,
    REGION_ID,
    VSWITCHES,
    VSWITCH_SELECTION,
    SECURITY_GROUP,
    SECURITY_GROUPS,
    ENI_TAGS,
    ENI_TAG_FILTER,
    ENI_TAG_BLOCK_LIST,
    RESOURCE_GROUP_ID,
    IPAM_TYPE,
    RATE_LIMIT,
    BACKOFF_OVERRIDE,
    KUBE_CLIENT_QPS,
    KUBE_CLIENT_BURST,
)
