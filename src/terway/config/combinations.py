"""Which keys of `eni_conf` contradict each other? Rules over values that are right by themselves.

What depends on the instance type (ENIs, prefixes, IPv6 addresses) is checked with the type known:
`capacity`.
"""

from __future__ import annotations

from terway.config import keys_cloud as cloud
from terway.config import keys_pods as pods
from terway.config import keys_pool as pool
from terway.config.declare import Key, Values
from terway.config.findings import Report
from terway.model.address import IPStack


def check_combinations(said: Values, report: Report) -> None:
    """Put into `report` what cannot be right together."""
    for rule in (
        _pool_sizes,
        _enis,
        _access_key,
        _groups,
        _tags,
        _routes,
        _prefixes,
        _reclaim,
        _kube_client,
    ):
        rule(said, report)


def _pool_sizes(said: Values, report: Report) -> None:
    minimum, maximum = said[pool.MIN_POOL_SIZE], said[pool.MAX_POOL_SIZE]
    if said.has(pool.MAX_POOL_SIZE) and minimum > maximum:
        rule = f"must be at most max_pool_size, {maximum}"
        report.refuse(said.path(pool.MIN_POOL_SIZE), minimum, rule)


def _enis(said: Values, report: Report) -> None:
    least, most = said[pool.MIN_ENI], said[pool.MAX_ENI]
    if 0 < most < least:
        rule = f"must be at most max_eni, {most}: lower it, or raise max_eni"
        report.refuse(said.path(pool.MIN_ENI), least, rule)


def _access_key(said: Values, report: Report) -> None:
    key, secret = said[cloud.ACCESS_KEY], said[cloud.ACCESS_SECRET]
    if bool(key) != bool(secret):
        given, other = (
            (cloud.ACCESS_KEY, cloud.ACCESS_SECRET)
            if key
            else (cloud.ACCESS_SECRET, cloud.ACCESS_KEY)
        )
        rule = f"must be set because {given.name} is; or remove both"
        report.refuse(said.path(other), "", rule)


def _groups(said: Values, report: Report) -> None:
    ids = {*filter(None, (said[cloud.SECURITY_GROUP],)), *said[cloud.SECURITY_GROUPS]}
    if len(ids) > cloud.MAX_SECURITY_GROUPS:
        rule = f"an ENI has at most {cloud.MAX_SECURITY_GROUPS}, here are {len(ids)}: remove some"
        report.refuse(said.path(cloud.SECURITY_GROUPS), sorted(ids), rule)


def _tags(said: Values, report: Report) -> None:
    """A filter and a block list that name the same tag leave no ENI to Terway."""
    wanted = set(said[cloud.ENI_TAG_FILTER].items())
    blocked = said[cloud.ENI_TAG_BLOCK_LIST]
    for index, one in enumerate(blocked):
        path = f"{said.path(cloud.ENI_TAG_BLOCK_LIST)}[{index}]"
        if not one.has(cloud.TAG_KEY):
            report.refuse(f"{path}.key", None, "must name the key of a tag")
        elif (tag := (one[cloud.TAG_KEY], one[cloud.TAG_VALUE])) in wanted:
            rule = "is in eni_tag_filter, too: no ENI would be Terway's. Remove it from one"
            report.refuse(path, dict([tag]), rule)


def _routes(said: Values, report: Report) -> None:
    families = {family.value for family in said[pods.IP_STACK].families}
    routes = said[pods.EXTRA_ROUTES]
    for index, one in enumerate(routes):
        path = f"{said.path(pods.EXTRA_ROUTES)}[{index}].dst"
        network = one[pods.ROUTE_DST]
        if network is None:
            if not report.has_refused([path]):
                report.refuse(path, None, "must say where to: a range")
        elif network.version not in families:
            rule = f"pods have no IPv{network.version} address by ip_stack: remove it"
            report.refuse(path, str(network), rule)


def _prefixes(said: Values, report: Report) -> None:
    counts = (pool.IPV4_PREFIX_COUNT, pool.IPV6_PREFIX_COUNT)
    if not said[pool.ENABLE_IP_PREFIX]:
        for key in counts:
            if said[key]:
                rule = "counts prefixes, and enable_ip_prefix is not true: set that, or remove this"
                report.refuse(said.path(key), said[key], rule)
        return
    stack = said[pods.IP_STACK]
    if stack is IPStack.IPV4 and said[pool.IPV6_PREFIX_COUNT]:
        rule = "ip_stack is ipv4: remove it, or set ip_stack to dual or ipv6"
        report.refuse(said.path(pool.IPV6_PREFIX_COUNT), said[pool.IPV6_PREFIX_COUNT], rule)
    if stack is IPStack.IPV6 and said[pool.IPV4_PREFIX_COUNT]:
        rule = "ip_stack is ipv6: remove it, or set ip_stack to dual or ipv4"
        report.refuse(said.path(pool.IPV4_PREFIX_COUNT), said[pool.IPV4_PREFIX_COUNT], rule)
    if stack is IPStack.DUAL and said[pool.IPV6_PREFIX_COUNT]:
        text = "has no effect: in dual stack each ENI has one /80"
        report.caution(said.path(pool.IPV6_PREFIX_COUNT), text)


def _reclaim(said: Values, report: Report) -> None:
    if said[pool.RECLAIM_AFTER] is not None:
        return
    keys: tuple[Key[object], ...] = (
        pool.RECLAIM_INTERVAL,
        pool.RECLAIM_BATCH,
        pool.RECLAIM_JITTER,
    )
    for key in keys:
        if said.has(key):
            text = "has no effect without idle_ip_reclaim_after: set that, too"
            report.caution(said.path(key), text)


def _kube_client(said: Values, report: Report) -> None:
    if said[cloud.KUBE_CLIENT_BURST] and not said[cloud.KUBE_CLIENT_QPS]:
        text = "has no effect without kube_client_qps: set that, too"
        report.caution(said.path(cloud.KUBE_CLIENT_BURST), text)
