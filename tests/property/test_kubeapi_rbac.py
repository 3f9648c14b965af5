"""What rules cover, they allow; what they do not cover, somebody could do more with."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.lab.kubeapi.rbac.attributes import Attributes
from terway.lab.kubeapi.rbac.grants import RbacObjects, make_grants
from terway.lab.kubeapi.rbac.rules import Rule, break_down, compact, render_rule, uncovered
from terway.lab.kubeapi.rbac.users import Identity

VERBS = ("get", "list", "delete")
GROUPS = ("", "apps")
RESOURCES = ("pods", "pods/status", "nodes/status", "nodes")
NAMES = ("a", "b")
URLS = ("/metrics", "/logs/x", "/logs/y/z")
NAMESPACES = ("", "team", "other")


def some(values, *, least=1):
    return st.lists(st.sampled_from(values), min_size=least, max_size=2, unique=True).map(tuple)


resource_rules = st.builds(
    Rule,
    verbs=some((*VERBS, "*")),
    api_groups=some((*GROUPS, "*")),
    resources=some((*RESOURCES, "*", "*/status")),
    resource_names=some(NAMES, least=0),
)
url_rules = st.builds(
    Rule, verbs=some((*VERBS, "*")), non_resource_urls=some((*URLS, "/logs/*", "*"))
)
rules = st.one_of(resource_rules, url_rules)
asked_resources = st.builds(
    lambda verb, group, resource, name, namespace: Attributes(
        verb=verb,
        group=group,
        resource=resource.partition("/")[0],
        subresource=resource.partition("/")[2],
        name=name,
        namespace=namespace,
    ),
    st.sampled_from(VERBS),
    st.sampled_from(GROUPS),
    st.sampled_from(RESOURCES),
    st.sampled_from(("", *NAMES)),
    st.sampled_from(NAMESPACES),
)
asked = st.one_of(
    asked_resources, st.builds(Attributes, verb=st.sampled_from(VERBS), path=st.sampled_from(URLS))
)


def allowed(held, what):
    return any(rule.allows(what) for rule in held)


@given(st.lists(rules, max_size=3), st.lists(rules, max_size=3), asked)
@settings(max_examples=300)
def test_who_is_not_found_to_give_more_than_he_has_gives_nothing_more(held, given_, what):
    if not uncovered(held, given_) and allowed(given_, what):
        assert allowed(held, what)


@given(st.lists(rules, min_size=1, max_size=3))
def test_everybody_has_what_he_has(held):
    assert uncovered(held, held) == ()
    assert uncovered((), held) == tuple(part for rule in held for part in break_down(rule))


@given(st.lists(rules, max_size=3), st.lists(rules, max_size=3))
def test_with_what_is_missing_nothing_is_missing(held, wanted):
    missing = uncovered(held, wanted)

    assert uncovered((*held, *missing), wanted) == ()
    assert uncovered((*held, *compact(missing)), wanted) == ()


@given(rules, asked)
def test_the_parts_of_a_rule_allow_what_the_rule_allows(rule, what):
    assert allowed(break_down(rule), what) is rule.allows(what)


def binding(role, namespace, subject):
    meta = {"name": role, "namespace": namespace} if namespace else {"name": role}
    kind = "Role" if namespace else "ClusterRole"
    return {"metadata": meta, "roleRef": {"kind": kind, "name": role}, "subjects": [subject]}


def role_of(index, namespace, rule):

    meta = {"name": f"r{index}", "namespace": namespace} if namespace else {"name": f"r{index}"}
    return {"metadata": meta, "rules": [render_rule(rule)]}


granted = st.lists(
    st.tuples(rules, st.sampled_from(NAMESPACES), st.sampled_from(("eve", "adam"))), max_size=5
)


@given(granted, st.randoms(use_true_random=False), asked)
def test_a_user_may_what_a_binding_of_his_allows_there_in_whatever_order(grants, rng, what):
    """The model: look at each (rule, namespace, user) by itself."""
    rows = list(enumerate(grants))
    rng.shuffle(rows)
    objects: dict[bool, tuple[list[Any], list[Any]]] = {True: ([], []), False: ([], [])}
    for index, (rule, namespace, user) in rows:
        roles, bindings = objects[bool(namespace)]
        roles.append(role_of(index, namespace, rule))
        bindings.append(binding(f"r{index}", namespace, {"kind": "User", "name": user}))
    held = make_grants(
        RbacObjects(
            roles=objects[True][0],
            role_bindings=objects[True][1],
            cluster_roles=objects[False][0],
            cluster_role_bindings=objects[False][1],
        )
    )

    wanted = any(
        user == "eve" and namespace in ("", what.namespace) and rule.allows(what)
        for rule, namespace, user in grants
    )
    assert held.decide(Identity(name="eve"), what).is_allowed is wanted
