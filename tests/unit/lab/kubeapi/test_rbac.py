"""Whoever asks over a listener may do what a rule allows him, and nothing else."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.access import ADMIN, Access, Identity, impersonated
from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.rbac.attributes import attributes_of
from terway.lab.kubeapi.rbac.rules import parse_rule
from terway.lab.kubeapi.rbac.users import service_account, split_service_account
from terway.lab.kubeapi.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    NAMESPACE,
    POD,
    ROLE,
    ROLE_BINDING,
    SELF_ACCESS_REVIEW,
    SELF_RULES_REVIEW,
    SELF_SUBJECT_REVIEW,
    SERVICE_ACCOUNT,
    TOKEN_REVIEW,
)
from terway.lab.kubeapi.writes import WriteOptions
from tests.support.cluster import Clock, make_cluster, pod_manifest

ROBOT = service_account("team", "robot")
PODS = "/api/v1/namespaces/team/pods"


def cluster(clock=None):
    state = make_cluster(clock)
    state.create(NAMESPACE, {"metadata": {"name": "team"}})
    state.create(SERVICE_ACCOUNT, {"metadata": {"name": "robot", "namespace": "team"}})
    return state


def rule(resources, verbs, *, groups=("",), names=()):
    held = {"apiGroups": list(groups), "resources": resources.split(), "verbs": verbs.split()}
    return {**held, "resourceNames": list(names)} if names else held


def urls(paths, verbs="get"):
    return {"nonResourceURLs": paths.split(), "verbs": verbs.split()}


def grant(state, *rules, name="r", namespace="", options=None):
    """Give the robot rules: in one namespace, or everywhere."""
    options = options or WriteOptions()
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "team"}
    role, binding = (ROLE, ROLE_BINDING) if namespace else (CLUSTER_ROLE, CLUSTER_ROLE_BINDING)
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    state.create(role, {"metadata": meta, "rules": list(rules)}, options=options)
    bound = {
        "metadata": meta,
        "roleRef": {"kind": role.kind, "name": name},
        "subjects": [subject],
    }
    state.create(binding, bound, options=options)


def may(state, method, path, user=ROBOT, **query):
    return state.authorizer.grants.decide(user, attributes_of(method, path, query)).is_allowed


def refusal(state, method, path, user=ROBOT, **query):
    with pytest.raises(ApiError) as caught:
        state.authorizer.authorize(user, attributes_of(method, path, query))
    assert caught.value.code == 403
    return caught.value.message


def test_nobody_may_do_anything_that_no_rule_allows():
    state = cluster()

    assert refusal(state, "GET", PODS) == (
        'pods is forbidden: User "system:serviceaccount:team:robot" cannot list resource "pods" '
        'in API group "" in the namespace "team"'
    )
    assert refusal(state, "PATCH", f"{PODS}/a/status") == (
        'pods "a" is forbidden: User "system:serviceaccount:team:robot" cannot patch resource '
        '"pods/status" in API group "" in the namespace "team"'
    )
    assert refusal(state, "DELETE", "/apis/apps/v1/deployments") == (
        'deployments.apps is forbidden: User "system:serviceaccount:team:robot" cannot '
        'deletecollection resource "deployments" in API group "apps" at the cluster scope'
    )
    assert refusal(state, "GET", "/metrics") == (
        'forbidden: User "system:serviceaccount:team:robot" cannot get path "/metrics"'
    )


def test_masters_may_do_everything_whatever_the_roles_say():
    assert may(cluster(), "DELETE", "/apis/any/v1/things", ADMIN)


def test_a_role_counts_in_its_namespace_and_a_cluster_role_everywhere():
    state = cluster()
    grant(state, rule("pods", "get list"), namespace="team")
    grant(state, rule("nodes", "get"))

    assert may(state, "GET", f"{PODS}/a")
    assert not may(state, "GET", "/api/v1/namespaces/default/pods/a")
    assert not may(state, "GET", "/api/v1/pods")
    assert may(state, "GET", "/api/v1/nodes/n1")


def test_a_cluster_role_can_be_bound_in_one_namespace():
    state = cluster()
    state.create(CLUSTER_ROLE, {"metadata": {"name": "c"}, "rules": [rule("pods", "get")]})
    binding = {
        "metadata": {"name": "b", "namespace": "team"},
        "roleRef": {"kind": "ClusterRole", "name": "c"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot"}],
    }
    state.create(ROLE_BINDING, binding)

    assert may(state, "GET", f"{PODS}/a")
    assert not may(state, "GET", "/api/v1/namespaces/default/pods/a")


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        ({"kind": "User", "name": "system:serviceaccount:team:robot"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts:team"}, True),
        ({"kind": "Group", "name": "system:authenticated"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts:other"}, False),
        ({"kind": "User", "name": "robot"}, False),
    ],
)
def test_a_service_account_is_a_user_in_groups(subject, allowed):
    state = cluster()
    state.create(CLUSTER_ROLE, {"metadata": {"name": "c"}, "rules": [rule("pods", "get")]})
    reference = {"kind": "ClusterRole", "name": "c"}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
    state.create(CLUSTER_ROLE_BINDING, binding)

    assert may(state, "GET", f"{PODS}/a") is allowed


@pytest.mark.parametrize(
    ("granted", "method", "path", "allowed"),
    [
        (rule("pods", "get"), "GET", f"{PODS}/a/status", False),
        (rule("pods/status", "patch"), "PATCH", f"{PODS}/a/status", True),
        (rule("pods/status", "patch"), "PATCH", f"{PODS}/a", False),
        (rule("*/status", "patch"), "PATCH", f"{PODS}/a/status", True),
        (rule("*/status", "patch"), "PATCH", f"{PODS}/a", False),
        (rule("*", "*", groups=("*",)), "PATCH", f"{PODS}/a/eviction", True),
        (rule("pods", "get", names=("a",)), "GET", f"{PODS}/a", True),
        (rule("pods", "get", names=("a",)), "GET", f"{PODS}/b", False),
        (rule("pods", "create", names=("a",)), "POST", PODS, False),
        (rule("x", "get", groups=("apps",)), "GET", "/apis/batch/v1/x/d", False),
        (urls("/logs/*"), "GET", "/logs/kubelet", True),
        (urls("/logs"), "GET", "/logs/kubelet", False),
        (urls("/logs"), "PUT", "/logs", False),
    ],
)
def test_a_rule_allows_exactly_what_it_says(granted, method, path, allowed):
    state = cluster()
    grant(state, granted)

    assert may(state, method, path) is allowed


def test_names_allow_to_watch_one_object_that_is_selected():
    state = cluster()
    grant(state, rule("pods", "watch list", names=("a",)))

    selected = {"fieldSelector": "metadata.name=a"}
    assert may(state, "GET", PODS, watch="true", **selected)
    assert may(state, "GET", PODS, **selected)
    assert not may(state, "GET", PODS, watch="true")


def test_a_binding_of_a_role_that_is_not_there_is_told():
    state = cluster()
    reference = {"kind": "ClusterRole", "name": "lost"}
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "team"}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
    state.create(CLUSTER_ROLE_BINDING, binding)

    text = 'RBAC: clusterrole.rbac.authorization.k8s.io "lost" not found'
    assert refusal(state, "GET", PODS).endswith(text)


def test_a_change_of_a_role_counts_at_once():
    state = cluster()
    grant(state, rule("pods", "get"))
    assert may(state, "GET", f"{PODS}/a")

    state.delete(CLUSTER_ROLE_BINDING, "r")

    assert not may(state, "GET", f"{PODS}/a")


def as_robot():
    return WriteOptions(user=ROBOT)


def test_nobody_gives_what_he_does_not_have():
    state = cluster()
    grant(
        state, rule("pods", "get"), rule("roles", "create", groups=("rbac.authorization.k8s.io",))
    )
    role = {"metadata": {"name": "x", "namespace": "team"}, "rules": [rule("pods", "get delete")]}

    with pytest.raises(ApiError) as caught:
        state.create(ROLE, role, options=as_robot())
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "x" is forbidden: user '
        '"system:serviceaccount:team:robot" (groups=["system:serviceaccounts" '
        '"system:serviceaccounts:team" "system:authenticated"]) is attempting to grant RBAC '
        "permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'
    )
    state.create(ROLE, {**role, "rules": [rule("pods", "get")]}, options=as_robot())
    with pytest.raises(ApiError, match="not currently held"):
        state.patch(ROLE, "x", "team", {"rules": [rule("pods", "*")]}, options=as_robot())


def test_nobody_binds_what_he_does_not_have():
    state = cluster()
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "team"}],
    }

    with pytest.raises(ApiError, match="not currently held"):
        state.create(CLUSTER_ROLE_BINDING, binding, options=as_robot())
    grant(state, rule("clusterroles", "bind", groups=("*",), names=("cluster-admin",)))
    state.create(CLUSTER_ROLE_BINDING, binding, options=as_robot())


def test_who_may_escalate_may_give_anything():
    state = cluster()
    grant(state, rule("clusterroles", "escalate", groups=("*",)))
    role = {"metadata": {"name": "x"}, "rules": [rule("*", "*", groups=("*",))]}

    state.create(CLUSTER_ROLE, role, options=as_robot())


def test_a_sum_of_roles_follows_those_that_are_labelled_for_it():
    state = cluster()
    label = {"sum": "yes"}
    selectors = [{"matchLabels": label}]
    total = {"metadata": {"name": "total"}, "aggregationRule": {"clusterRoleSelectors": selectors}}
    state.create(CLUSTER_ROLE, total)
    part = {"metadata": {"name": "part", "labels": label}, "rules": [rule("pods", "get")]}
    state.create(CLUSTER_ROLE, part)

    settle(state)

    assert state.get(CLUSTER_ROLE, "total").object["rules"] == [rule("pods", "get")]
    assert {"pods", "services"} <= {
        resource
        for held in state.get(CLUSTER_ROLE, "view").object["rules"]
        for resource in held["resources"]
    }


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"apiGroups": [""], "resources": ["pods"]}], "verbs must contain at least one value"),
        ([{"resources": ["pods"], "verbs": ["get"]}], "supply at least one api group"),
        ([{"apiGroups": [""], "verbs": ["get"]}], "supply at least one resource"),
        ([urls("/x")], "namespaced rules cannot apply to non-resource URLs"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(rules, message):
    role = {"metadata": {"name": "x", "namespace": "default"}, "rules": rules}

    with pytest.raises(ApiError, match=message):
        make_cluster().create(ROLE, role)


def test_a_binding_keeps_its_role():
    state = cluster()
    grant(state, rule("pods", "get"))

    with pytest.raises(ApiError, match="cannot change roleRef"):
        state.patch(CLUSTER_ROLE_BINDING, "r", "", {"roleRef": {"name": "view"}})


def token_of(state, **spec):
    account = state.get(SERVICE_ACCOUNT, "robot", "team").object
    return state.tokens.issue(account, {"spec": spec})["status"]["token"]


def identify(state, token):
    return Access().identify(f"Bearer {token}", state.tokens)


def test_a_token_stands_for_its_account_until_it_expires():
    clock = Clock()
    state = cluster(clock)
    token = token_of(state, expirationSeconds=600)

    assert identify(state, token).name == ROBOT.name
    assert identify(state, token).groups == ROBOT.groups
    clock.move(600)
    with pytest.raises(ApiError, match="Unauthorized"):
        identify(state, token)


def test_a_token_ends_with_its_account_and_does_not_come_back_with_the_name():
    state = cluster()
    token = token_of(state)
    account = {"metadata": {"name": "robot", "namespace": "team"}}

    state.delete(SERVICE_ACCOUNT, "robot", "team")
    state.create(SERVICE_ACCOUNT, account)

    with pytest.raises(ApiError, match="Unauthorized"):
        identify(state, token)


def test_a_token_bound_to_a_pod_ends_with_it():
    state = cluster()
    pod = {**pod_manifest(), "metadata": {"name": "a", "namespace": "team"}}
    state.create(POD, pod)
    token = token_of(state, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "a"})
    assert identify(state, token).extra["authentication.kubernetes.io/pod-name"] == ("a",)

    state.delete(POD, "a", "team")

    with pytest.raises(ApiError, match="Unauthorized"):
        identify(state, token)


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-2] + "AA", lambda t: t + "A", lambda t: "x.y", lambda t: t + "é"]
)
def test_a_token_that_somebody_has_changed_is_a_strangers(spoil):
    state = cluster()

    with pytest.raises(ApiError, match="Unauthorized"):
        identify(state, spoil(token_of(state)))


def test_a_token_of_another_cluster_is_a_strangers():
    with pytest.raises(ApiError, match="Unauthorized"):
        identify(cluster(), token_of(cluster()))


def test_a_token_for_other_ears_is_no_way_in():
    state = cluster()

    with pytest.raises(ApiError, match="Unauthorized"):
        identify(state, token_of(state, audiences=["vault"]))


def test_a_token_that_would_be_too_short_lived_is_refused():
    with pytest.raises(ApiError, match="may not specify a duration less than 10 minutes"):
        token_of(cluster(), expirationSeconds=60)


def ask(state, resource, user=ROBOT, **spec):
    answer = state.answer(resource, {"spec": spec}, options=WriteOptions(user=user))
    return answer.object["status"]


def test_everybody_may_ask_what_he_may():
    state = cluster()
    grant(state, rule("pods", "list"), namespace="team")
    asked = {"verb": "list", "resource": "pods", "namespace": "team"}

    yes = ask(state, SELF_ACCESS_REVIEW, resourceAttributes=asked)
    no = ask(state, SELF_ACCESS_REVIEW, resourceAttributes={**asked, "verb": "watch"})
    rules = ask(state, SELF_RULES_REVIEW, namespace="team")["resourceRules"]

    assert (yes["allowed"], no["allowed"]) == (True, False)
    assert yes["reason"] == (
        'RBAC: allowed by RoleBinding "r/team" of Role "r" to ServiceAccount "robot/team"'
    )
    assert rule("pods", "list") in rules
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert may(state, "POST", path)


def test_who_somebody_is_can_be_asked():
    state = cluster()

    assert ask(state, SELF_SUBJECT_REVIEW)["userInfo"]["username"] == ROBOT.name
    seen = ask(state, TOKEN_REVIEW, ADMIN, token=token_of(state))
    assert (seen["authenticated"], seen["user"]["username"]) == (True, ROBOT.name)
    assert ask(state, TOKEN_REVIEW, ADMIN, token="stranger")["authenticated"] is False


def test_only_who_may_impersonate_is_somebody_else():
    state = cluster()
    headers = {"Impersonate-User": ROBOT.name}

    became = impersonated(ADMIN, headers, (), state.authorizer)
    assert (became.name, became.groups) == (ROBOT.name, ROBOT.groups)
    grouped = impersonated(ADMIN, {"Impersonate-User": "eve"}, ("ops",), state.authorizer)
    assert grouped.groups == ("ops", "system:authenticated")
    with pytest.raises(ApiError, match='cannot impersonate resource "serviceaccounts"'):
        impersonated(Identity(name="eve"), headers, (), state.authorizer)


def test_each_namespace_gets_its_account():
    state = cluster()

    settle(state)
    state.delete(SERVICE_ACCOUNT, "default", "team")
    settle(state)

    assert state.get(SERVICE_ACCOUNT, "default", "team")


def test_a_pod_of_an_account_that_is_not_there_is_refused():
    pod = pod_manifest()
    pod["spec"]["serviceAccountName"] = "lost"

    with pytest.raises(ApiError, match='serviceaccount "lost" not found'):
        make_cluster().create(POD, pod)


@pytest.mark.parametrize("name", ["robot", "system:serviceaccount:", "system:serviceaccount:a"])
def test_other_users_are_no_service_accounts(name):
    assert split_service_account(name) is None


def test_what_a_role_lacks_and_what_nobody_needs_of_it_is_known():
    state = cluster()
    held = [rule("pods pods/status", "get list"), urls("/metrics")]
    grant(state, *held)
    rules = [parse_rule(one) for one in held]
    audit = state.authorizer.audit

    def ask_for(method, path):
        state.authorizer.authorize(ROBOT, attributes_of(method, path, {}))

    ask_for("GET", f"{PODS}/a")
    ask_for("GET", f"{PODS}/b")
    ask_for("GET", "/metrics")
    with pytest.raises(ApiError):
        ask_for("DELETE", f"{PODS}/a")
    state.authorizer.authorize(ADMIN, attributes_of("GET", "/api/v1/nodes", {}))

    assert audit.refused(ROBOT.name) == {("delete", "", "pods"): 1}
    assert audit.allowed(ROBOT.name) == {("get", "", "pods"): 2, ("get", "", "/metrics"): 1}
    unused = {(one.verbs, one.resources) for one in audit.unused(ROBOT.name, rules)}
    assert unused == {
        (("list",), ("pods",)),
        (("get",), ("pods/status",)),
        (("list",), ("pods/status",)),
    }
    assert audit.allowed(ADMIN.name) == {}
