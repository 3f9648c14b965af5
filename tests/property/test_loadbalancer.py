"""Load balancers become what is wanted from whatever they are, and nothing of others is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from terway.loadbalancer.annotations import Settings
from terway.loadbalancer.plan import plan, plan_removal
from terway.loadbalancer.steps import (
    ChangeAccessList,
    ChangeBackends,
    ChangeSourceGroup,
    CreateAccessList,
    CreateSourceGroup,
    DeleteAccessList,
    DeleteGroup,
    DeleteInstance,
    DeleteListener,
    DeleteSourceGroup,
    JoinGroups,
    LeaveGroups,
    Protect,
    Rename,
    SetSpec,
    Tag,
)
from terway.loadbalancer.values import NLB_CLASS, Cluster, Endpoint, Observed, Port, Service
from terway.loadbalancer.wanted import Wanted, holdings_of, mark_of, wanted_of
from terway.loadbalancer.web_annotations import WebSettings
from terway.model.address import Family
from terway.model.balancer import (
    AccessList,
    AccessListId,
    AccessRule,
    Backend,
    BalancerInstance,
    BalancerProduct,
    Forwarding,
    Listener,
    ListenerId,
    ListenerProtocol,
    ListenerWish,
    LoadBalancerId,
    ServerGroup,
    ServerGroupId,
    SourceGroup,
    SourceRule,
)
from terway.model.errors import UsageError
from terway.model.http_listener import (
    CookieKind,
    HttpForwarding,
    StickySession,
    TlsTermination,
)
from terway.model.ids import ENIId, SecurityGroupId, VpcId, VSwitchId, ZoneId
from tests.support.balancer_paper import Paper, foreign

CLUSTER = Cluster(
    cluster_id="c1", vpc_id=VpcId("vpc-1"), zones=((ZoneId("z"), VSwitchId("vsw-1")),)
)
ID = LoadBalancerId("lb-1")
ROUNDS = 6
SEARCH = settings(max_examples=5000, phases=[Phase.generate], database=None)
PORTS = st.integers(80, 83)
# Marks of ours, of a Service whose name ends as ours does, and words of somebody else.
OWN = "web/default/c1"
MARKS = st.sampled_from([OWN, "other-web/default/c1", "web/default/c2"])


def backend(number: int, weight: int = 100) -> Backend:
    address = IPv4Address("192.168.32.0") + number
    return Backend(address=address, port=8080, eni_id=ENIId("eni-1"), weight=weight)


BACKENDS = st.lists(
    st.builds(backend, st.integers(1, 6), st.sampled_from([0, 100])),
    unique_by=lambda one: one.identity,
    max_size=5,
).map(tuple)
FORWARDINGS = st.sampled_from([Forwarding(), Forwarding(scheduler="rr", drain_s=10)])
STICKY = StickySession(kind=CookieKind.SERVER, cookie="session")
HTTPS = st.sampled_from([HttpForwarding(), HttpForwarding(sticky=STICKY)])
SOURCES = st.lists(
    st.sampled_from([ip_network("203.0.113.0/24"), ip_network("198.51.100.0/24")]), unique=True
).map(tuple)


def protocols(*, is_clb: bool) -> st.SearchStrategy[ListenerProtocol]:
    """Draw what a listener of the product can be of."""
    return st.sampled_from(
        [one for one in ListenerProtocol if is_clb or one is one.transport],
    )


def place_of(one: tuple[ListenerProtocol, int] | tuple[ListenerProtocol, int, str]) -> object:
    return one[0].transport, one[1]


@st.composite
def webs(draw: st.DrawFn, ports: list[tuple[ListenerProtocol, int]]) -> WebSettings:
    """Draw what a Service says of ports of HTTP."""
    plain = [port for protocol, port in ports if protocol is ListenerProtocol.HTTP]
    return WebSettings(
        protocols=tuple(ports),
        http=draw(HTTPS),
        tls=TlsTermination(certificate_id=draw(st.sampled_from(["cert-1", "cert-2"]))),
        redirects=tuple((one, 443) for one in plain if draw(st.booleans())),
        is_checked=draw(st.booleans()),
    )


@st.composite
def services(draw: st.DrawFn, *, named: bool | None = None) -> Wanted:
    """Draw what a Service wants, by way of `wanted_of`."""
    is_nlb = draw(st.booleans())
    one_port = st.tuples(protocols(is_clb=not is_nlb), PORTS)
    ports = draw(st.lists(one_port, unique_by=place_of, max_size=3))
    endpoints = draw(
        st.lists(
            st.builds(
                Endpoint,
                address=st.integers(1, 6).map(lambda one: IPv4Address("192.168.32.0") + one),
                ports=st.just({"": 8080}),
                is_terminating=st.booleans(),
                eni_id=st.just(ENIId("eni-1")),
            ),
            unique_by=lambda one: one.address,
            max_size=5,
        )
    )
    service = Service(
        namespace="default",
        name="web",
        uid="6f1a",
        ports=tuple(Port(name="", protocol=one.transport, port=port) for one, port in ports),
        families=(Family.V4,),
        load_balancer_class=NLB_CLASS if is_nlb else "",
        source_ranges=draw(SOURCES),
    )
    is_named = draw(st.booleans()) if named is None else named
    said = Settings(
        balancer_id=ID if is_named else "",
        overrides_listeners=draw(st.booleans()),
        name=draw(st.sampled_from(["", "mine"])),
        is_protected_from_deletion=draw(st.booleans()),
        tags=(("team", "shop"),),
        forwarding=draw(FORWARDINGS),
        security_group_ids=draw(st.sampled_from([(), ("sg-asked",)])) if is_nlb else (),
        web=WebSettings() if is_nlb else draw(webs(ports)),
    )
    (wanted,) = wanted_of(service, said, endpoints, CLUSTER)
    return wanted


@st.composite
def _http(draw: st.DrawFn, protocol: ListenerProtocol) -> HttpForwarding:
    if protocol is ListenerProtocol.HTTPS:
        return replace(draw(HTTPS), tls=TlsTermination(certificate_id="cert-1"))
    return draw(HTTPS | st.just(HttpForwarding(redirect_port=443)))


@st.composite
def _listener(
    draw: st.DrawFn,
    protocol: ListenerProtocol,
    port: int,
    mark: str,
    groups: tuple[ServerGroup, ...],
    rules: list[AccessRule | None],
    *,
    is_clb: bool,
) -> Listener:
    """Draw a listener; nobody else's has a group or list of ours."""
    said = draw(st.sampled_from([f"k8s/{protocol.value}-{port}/{mark}", "by hand"]))
    is_own = said.endswith(f"/{OWN}")
    ids = [one.id for one in groups if is_own or not one.name.endswith(f"/{OWN}")]
    return Listener(
        id=ListenerId(f"lsn-{protocol.value}-{port}"),
        balancer_id=ID,
        is_running=draw(st.booleans()),
        wish=ListenerWish(
            protocol=protocol,
            port=port,
            group_id=draw(st.sampled_from(ids or [ServerGroupId("rsp-else")])),
            description=said,
            forwarding=draw(FORWARDINGS) if is_clb else None,
            access=draw(st.sampled_from(rules)) if is_clb and is_own else None,
            http=draw(_http(protocol)) if protocol.is_http else None,
        ),
    )


OWN_GROUP, THEIR_GROUP = SecurityGroupId("sg-own"), SecurityGroupId("sg-theirs")
SOURCE_RULES = [
    SourceRule(
        protocol="ALL",
        port_range="-1/-1",
        source=ip_network(source),
        is_allowed=is_allowed,
        priority=1 if is_allowed else 99,
    )
    for source, is_allowed in (("203.0.113.0/24", True), ("0.0.0.0/0", False))
]
SOURCE_GROUPS = st.none() | st.builds(
    SourceGroup,
    id=st.just(OWN_GROUP),
    rules=st.lists(st.sampled_from(SOURCE_RULES), unique=True).map(tuple),
)


@st.composite
def worlds(draw: st.DrawFn, product: BalancerProduct) -> Observed:
    """Draw what may be there: of ours, of others, half made, or nothing."""
    is_clb = product is BalancerProduct.CLB
    named = st.tuples(protocols(is_clb=is_clb), PORTS, MARKS)
    names = draw(st.lists(named, unique=True, max_size=4))
    groups = tuple(
        ServerGroup(
            id=ServerGroupId(f"rsp-{number}"),
            name=f"k8s/{protocol.value}-{port}/{mark}",
            backends=draw(BACKENDS),
            forwarding=None if is_clb else draw(FORWARDINGS),
        )
        for number, (protocol, port, mark) in enumerate(names)
    )
    own = f"k8s/{mark_of(SERVICE, CLUSTER)}"
    acl = AccessList(
        id=AccessListId("acl-1"),
        name=own,
        version=4,
        entries=tuple((one, "") for one in draw(SOURCES)),
    )
    access_list = draw(st.sampled_from([None, acl])) if is_clb else None
    rules: list[AccessRule | None]
    rules = [None] if access_list is None else [None, AccessRule(acl_id=acl.id, is_allowed=True)]
    source_group = None if is_clb else draw(SOURCE_GROUPS)
    joinable = [THEIR_GROUP] if source_group is None else [THEIR_GROUP, OWN_GROUP]
    if not draw(st.integers(0, 4)):
        return Observed(
            groups=() if is_clb else groups, access_list=access_list, source_group=source_group
        )
    instance = BalancerInstance(
        id=ID,
        product=product,
        name=draw(st.sampled_from(["a6f1a", "theirs"])),
        addresses=(),
        is_internet=True,
        is_protected_from_deletion=draw(st.booleans()),
        is_protected_from_console=draw(st.booleans()),
        security_group_ids=()
        if is_clb
        else tuple(draw(st.lists(st.sampled_from(joinable), unique=True))),
        tags=(("kubernetes.do.not.delete", "a6f1a"),),
    )
    held = draw(st.lists(named, unique_by=place_of, max_size=4))
    listeners = tuple(draw(_listener(*one, groups, rules, is_clb=is_clb)) for one in held)
    return Observed(
        instance=instance,
        listeners=listeners,
        groups=groups,
        access_list=access_list,
        source_group=source_group,
    )


def untouched(instance: BalancerInstance | None, own: str) -> BalancerInstance | None:
    """Return an instance without our own part of it: that it is in the group `own`."""
    if instance is None:
        return None
    kept = tuple(one for one in instance.security_group_ids if one not in (OWN_GROUP, own))
    return replace(instance, security_group_ids=kept)


SERVICE = Service(namespace="default", name="web", uid="6f1a", ports=(), families=(Family.V4,))


@st.composite
def cases(draw: st.DrawFn, *, named: bool | None = None) -> tuple[Wanted, Paper]:
    wanted = draw(services(named=named))
    return wanted, Paper(draw(worlds(wanted.product)), wanted.product)


def converge(wanted: Wanted, paper: Paper) -> None:
    """Look, plan and do until nothing is left; what is refused is left to the next look."""
    for _ in range(ROUNDS):
        steps = plan(wanted, paper.seen)
        if not steps:
            return
        for step in steps:
            paper.do(step)
    assert plan(wanted, paper.seen) == ()


@settings(max_examples=200)
@given(cases())
def test_it_comes_to_what_is_wanted_and_then_nothing_is_done(case: tuple[Wanted, Paper]) -> None:
    wanted, paper = case
    try:
        converge(wanted, paper)
    except UsageError:
        assert wanted.balancer_id  # of one that is not there, or whose ports others have
        assert paper.done == []
        return

    assert paper.seen.instance is not None
    listeners = {(one.wish.protocol, one.wish.port): one for one in paper.seen.listeners}
    groups = {one.id: one for one in paper.seen.groups}
    for one in wanted.listeners:
        found = listeners[one.protocol, one.port]
        assert found.is_running
        assert sorted(groups[found.wish.group_id].backends, key=str) == sorted(
            one.backends, key=str
        )
        is_clb = wanted.product is BalancerProduct.CLB
        assert (found.wish.access is not None) == (is_clb and bool(wanted.sources))
    if wanted.product is BalancerProduct.NLB:
        assert_sources_hold(wanted, paper)
    elif wanted.sources:
        assert paper.seen.access_list is not None
        assert {network for network, _ in paper.seen.access_list.entries} == set(wanted.sources)


def assert_sources_hold(wanted: Wanted, paper: Paper) -> None:
    """Without sources there is no group of ours; with them it says them, and holds."""
    own, instance = paper.seen.source_group, paper.seen.instance
    assert instance is not None
    asked = set() if wanted.balancer_id else set(wanted.security_group_ids)
    assert asked <= set(instance.security_group_ids)
    if not wanted.sources:
        assert own is None
        assert OWN_GROUP not in instance.security_group_ids
    elif wanted.listeners or not wanted.balancer_id:
        assert own is not None
        assert own.id in instance.security_group_ids
        assert {one.source for one in own.rules if one.is_allowed} == set(wanted.sources)
        assert any(not one.is_allowed for one in own.rules)


@settings(max_examples=200)
@given(cases(named=True))
def test_what_others_made_on_an_instance_of_theirs_stays(case: tuple[Wanted, Paper]) -> None:
    wanted, paper = case
    wanted = replace(wanted, overrides_listeners=False)
    before, instance = foreign(paper.seen, wanted), paper.seen.instance
    try:
        converge(wanted, paper)
    except UsageError:
        assert paper.done == []

    assert foreign(paper.seen, wanted) == before
    own = "" if paper.seen.source_group is None else paper.seen.source_group.id
    assert untouched(paper.seen.instance, own) == untouched(instance, own)
    assert not {type(one) for one in paper.done} & {Rename, SetSpec, Protect, Tag, DeleteInstance}


@settings(max_examples=200)
@given(cases())
def test_with_ranges_there_is_no_moment_without_them(case: tuple[Wanted, Paper]) -> None:
    wanted, paper = case
    try:
        converge(wanted, paper)
    except UsageError:
        return

    if wanted.sources:
        assert paper.bare_moments == 0


@settings(max_examples=200)
@given(cases(), st.booleans())
def test_removal_leaves_nothing_of_ours_and_all_of_others(
    case: tuple[Wanted, Paper], is_ours: bool
) -> None:
    wanted, paper = case
    before, instance = foreign(paper.seen, wanted), paper.seen.instance
    for _ in range(ROUNDS):
        for step in plan_removal(paper.seen, mark=wanted.mark, is_ours=is_ours):
            paper.do(step)

    assert plan_removal(paper.seen, mark=wanted.mark, is_ours=is_ours) == ()
    marked = Observed(listeners=paper.seen.listeners, groups=paper.seen.groups)
    assert foreign(marked, wanted) == (marked.listeners, marked.groups)
    if is_ours:
        assert paper.seen.instance is None
    else:
        assert paper.seen.instance == untouched(instance, OWN_GROUP)
        assert foreign(paper.seen, wanted) == before
        assert {type(one) for one in paper.done} <= {
            DeleteListener,
            DeleteGroup,
            DeleteAccessList,
            DeleteSourceGroup,
            LeaveGroups,
        }
    assert paper.seen.source_group is None


@given(cases(), st.integers(0, 20))
def test_a_plan_that_was_cut_off_anywhere_is_gone_on_with(
    case: tuple[Wanted, Paper], cut: int
) -> None:
    """Bug class 7: a crash after any step, and another look."""
    wanted, paper = case
    try:
        for step in plan(wanted, paper.seen)[:cut]:
            paper.do(step)
        converge(wanted, paper)
    except UsageError:
        return

    assert plan(wanted, paper.seen) == ()


@given(services(named=False))
def test_whatever_a_service_had_is_among_its_holdings(wanted: Wanted) -> None:
    held = holdings_of(SERVICE, "", CLUSTER)

    assert (wanted.product, wanted.mark, wanted.instance.tags[:2]) in [
        (one.product, one.mark, one.instance.tags) for one in held
    ]


@given(
    st.text("abc-", min_size=1, max_size=63),
    st.text("abc-", min_size=1, max_size=63),
    st.text("abc-", min_size=1, max_size=63),
)
def test_names_are_short_enough_for_the_cloud_and_differ(a: str, b: str, space: str) -> None:
    cluster = replace(CLUSTER, cluster_id="c" + 32 * "0")
    one, two = (replace(SERVICE, name=name, namespace=space) for name in (a, b))

    assert len(f"k8s/{mark_of(one, cluster)}-v6") <= 80
    assert len(f"k8s/TCP-65535/{mark_of(one, cluster)}") <= 128
    assert (mark_of(one, cluster) == mark_of(two, cluster)) == (a == b)


@pytest.mark.parametrize(
    "kind",
    [
        CreateAccessList,
        ChangeAccessList,
        ChangeBackends,
        CreateSourceGroup,
        ChangeSourceGroup,
        JoinGroups,
        LeaveGroups,
        DeleteSourceGroup,
    ],
)
def test_every_kind_of_step_is_met_here(kind: type) -> None:
    """Else the properties above say less than they seem to."""
    # A search ends with the first: one case in 25 has the rarest of them, and a hundred cases
    # were without it in one run of 40.
    find(cases(), lambda case: kind in kinds_of_steps(*case), settings=SEARCH)


def kinds_of_steps(wanted: Wanted, paper: Paper) -> set[type]:
    try:
        converge(wanted, paper)
    except UsageError:
        return set()
    return set(map(type, paper.done))
