"""Writes go through admission webhooks, over real HTTPS, as the real server sends them."""

from __future__ import annotations

import asyncio
import copy
import json
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address

import pytest

from terway.lab.kubeapi.controllers.runner import run_controllers
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.manifests import apply_reviewed
from terway.lab.kubeapi.objects import labels_of, metadata
from terway.lab.kubeapi.rbac.users import ADMIN
from terway.lab.kubeapi.resources import (
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    MUTATING_WEBHOOKS,
    NAMESPACE,
    POD,
    SERVICE,
    VALIDATING_WEBHOOKS,
)
from terway.lab.kubeapi.state import APPLY, ClusterState
from terway.lab.kubeapi.webhooks.admission import write_reviewed
from terway.lab.kubeapi.writes import WriteOptions
from terway.lab.world.sockets import listen_in, socket_in
from terway.model.errors import UsageError
from tests.support.cluster import deployment_manifest, make_cluster, pod_manifest
from tests.support.custom_resources import GROUP, definition, loaf, serve, version
from tests.support.kube_server import open_client
from tests.support.netns import scratch_netns
from tests.support.paper_kubelet import add_node
from tests.support.webhook_server import allow, deny, label, open_webhook_server, patch


def configure(state: ClusterState, *hooks: dict, kind=MUTATING_WEBHOOKS, name: str = "ours"):
    return state.create(kind, {"metadata": {"name": name}, "webhooks": list(hooks)})


def rule(*operations: str, group: str = "", resource: str = "pods", api: str = "v1") -> list[dict]:
    held = {"apiGroups": [group], "apiVersions": [api], "resources": [resource]}
    return [{"operations": list(operations), **held}]


async def reviewed(state: ClusterState, verb, *args, user=ADMIN, **fields):
    """Call a verb of the state, reviewed; its options may be given in words."""
    warnings: list[str] = []
    patch_type = {"kind": fields.pop("kind")} if "kind" in fields else {}
    if "subresource" in fields:
        patch_type["subresource"] = fields.pop("subresource")

    def write(trial):
        return verb(*args, **patch_type, options=WriteOptions(trial=trial, **fields))

    stored = await write_reviewed(state, write, user=user, warnings=warnings)
    return stored.object, warnings


async def create_pod(state: ClusterState, pod: dict | None = None, **fields):
    pod = pod or pod_manifest(app="web")
    namespace = pod["metadata"]["namespace"]
    held, _ = await reviewed(state, partial(state.create, POD, pod, namespace), **fields)
    return held


async def refusal(awaitable) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await awaitable
    return caught.value


async def test_a_mutating_webhook_changes_what_is_stored():
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: label("mutated"))
        configure(state, webhook.hook("/mutate"))

        await create_pod(state)

    assert labels_of(state.get(POD, "a", "default").object) == {"app": "web", "mutated": "yes"}
    (request,) = webhook.asked
    assert request["operation"] == "CREATE"
    assert request["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert request["object"]["spec"]["restartPolicy"] == "Always"  # with its defaults
    assert "uid" not in request["object"]["metadata"]
    assert (request["oldObject"], request["dryRun"]) == (None, False)


async def test_a_validating_webhook_sees_what_would_be_stored_and_can_refuse_it():
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: label("mutated"))
        webhook.at("/deny", lambda request: deny("no pods today", code=403, reason="Forbidden"))
        configure(state, webhook.hook("/mutate"))
        configure(state, webhook.hook("/deny"), kind=VALIDATING_WEBHOOKS)

        refused = await refusal(create_pod(state))

    words = 'admission webhook "deny.hooks.example.com" denied the request: no pods today'
    assert (refused.code, refused.reason, refused.message) == (403, "Forbidden", words)
    assert webhook.asked[1]["object"]["metadata"]["uid"]
    assert webhook.asked[1]["object"]["metadata"]["labels"]["mutated"] == "yes"
    assert state.find(POD, "a", "default") is None


async def test_a_refusal_without_a_word_is_a_bad_request_without_explanation():
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/deny", lambda request: deny())
        configure(state, webhook.hook("/deny"), kind=VALIDATING_WEBHOOKS)

        refused = await refusal(create_pod(state))

    assert refused.code == 400
    assert refused.message.endswith("denied the request without explanation")


async def never(request):
    await asyncio.Event().wait()


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_webhook_that_takes_too_long_counts_by_its_failure_policy(policy):
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/slow", never)
        configure(state, webhook.hook("/slow", failurePolicy=policy, timeoutSeconds=1))

        if policy == "Ignore":
            assert await create_pod(state)
            return
        refused = await refusal(create_pod(state))

    assert (refused.code, refused.reason) == (500, "InternalError")
    assert refused.message == (
        'Internal error occurred: failed calling webhook "slow.hooks.example.com": failed to '
        f'call webhook: Post "https://127.0.0.1:{webhook.port}/slow?timeout=1s": context '
        "deadline exceeded"
    )


async def test_a_webhook_whose_certificate_is_of_another_ca_is_not_asked():
    state = make_cluster()
    async with open_webhook_server() as webhook, open_webhook_server() as other:
        webhook.at("/mutate", lambda request: allow())
        hook = webhook.hook("/mutate")
        hook["clientConfig"]["caBundle"] = other.ca_bundle
        configure(state, hook)

        refused = await refusal(create_pod(state))

    assert "tls: failed to verify certificate: x509" in refused.message
    assert webhook.asked == []


async def test_nobody_listening_is_told_as_a_refused_connection():
    state = make_cluster()
    async with open_webhook_server() as webhook:
        configure(state, webhook.hook("/mutate"))

    refused = await refusal(create_pod(state))

    assert "connect: connection refused" in refused.message


@pytest.mark.parametrize("answer", [{"allowed": True, "uid": "other"}, {"patch": "e30="}])
async def test_an_answer_that_is_none_counts_as_a_failure(answer):
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: answer)
        configure(state, webhook.hook("/mutate"))

        refused = await refusal(create_pod(state))

    assert refused.message.startswith("Internal error occurred: failed calling webhook")


async def test_selectors_say_which_namespaces_and_objects_a_webhook_sees():
    state = make_cluster()
    state.create(NAMESPACE, {"metadata": {"name": "hooked", "labels": {"hooks": "on"}}})
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: allow())
        hook = webhook.hook(
            "/mutate",
            namespaceSelector={"matchLabels": {"hooks": "on"}},
            objectSelector={"matchExpressions": [{"key": "app", "operator": "Exists"}]},
        )
        configure(state, hook)
        inside = pod_manifest("c", app="web")
        inside["metadata"]["namespace"] = "hooked"
        unlabelled = copy.deepcopy(inside)
        unlabelled["metadata"] |= {"name": "d", "labels": {}}

        await create_pod(state)
        await create_pod(state, inside)
        await create_pod(state, unlabelled)

    assert [request["name"] for request in webhook.asked] == ["c"]


async def test_webhooks_are_called_in_order_and_again_only_where_they_ask_for_it():
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/first", lambda request: allow())
        webhook.at("/second", lambda request: label("second"))
        webhook.at("/never", lambda request: allow())
        first = webhook.hook("/first", reinvocationPolicy="IfNeeded")
        configure(state, first, webhook.hook("/never"), webhook.hook("/second"))

        await create_pod(state)

    seen = [request["object"]["metadata"]["labels"] for request in webhook.asked]
    plain, changed = {"app": "web"}, {"app": "web", "second": "yes"}
    assert seen == [plain, plain, plain, changed]


async def test_an_update_shows_both_states_and_a_status_has_a_name_of_its_own():
    state = make_cluster()
    state.create(POD, pod_manifest(app="web"), "default")
    async with open_webhook_server() as webhook:
        webhook.at("/see", lambda request: allow())
        configure(state, webhook.hook("/see", rules=rule("UPDATE")), kind=VALIDATING_WEBHOOKS)
        status = webhook.hook("/see", rules=rule("UPDATE", resource="pods/status"))
        configure(state, status, kind=VALIDATING_WEBHOOKS, name="status")

        change = partial(state.patch, POD, "a", "default")
        await reviewed(state, change, {"metadata": {"labels": {"app": "db"}}})
        await reviewed(state, change, {"status": {"phase": "Running"}}, subresource="status")

    first, second = webhook.asked
    assert first["oldObject"]["metadata"]["labels"] == {"app": "web"}
    assert first["object"]["metadata"]["labels"] == {"app": "db"}
    assert "subResource" not in first
    assert (second["subResource"], second["object"]["status"]["phase"]) == ("status", "Running")


async def test_what_changes_under_a_webhooks_hands_is_shown_to_it_again():
    state = make_cluster()
    state.create(POD, pod_manifest(app="web"), "default")
    async with open_webhook_server() as webhook:

        def interfere(request):
            if len(webhook.asked) == 1:
                state.patch(POD, "a", "default", {"metadata": {"labels": {"other": "yes"}}})
            return label("hook")

        webhook.at("/see", interfere)
        configure(state, webhook.hook("/see", rules=rule("UPDATE")))
        change = partial(state.patch, POD, "a", "default")
        await reviewed(state, change, {"metadata": {"labels": {"app": "db"}}})

    held = labels_of(state.get(POD, "a", "default").object)
    assert held == {"app": "db", "other": "yes", "hook": "yes"}
    assert len(webhook.asked) == 2


async def test_an_apply_is_reviewed_and_a_dry_run_says_so():
    state = make_cluster()
    row = serve(state)
    async with open_webhook_server() as webhook:
        operation = {"op": "add", "path": "/spec/note", "value": "by hook"}
        webhook.at("/loaf", lambda request: patch(operation))
        rules = rule("CREATE", group=GROUP, resource="loaves")
        configure(state, webhook.hook("/loaf", rules=rules))

        apply = partial(state.patch, row, "a", "default", loaf())
        dry, _ = await reviewed(state, apply, kind=APPLY, dry_run=True)
        assert state.find(row, "a", "default") is None
        await reviewed(state, apply, kind=APPLY)

    assert dry["spec"]["note"] == "by hook"
    assert state.get(row, "a", "default").object["spec"]["note"] == "by hook"
    assert [request["dryRun"] for request in webhook.asked] == [True, False]


@pytest.mark.parametrize(("policy", "asked"), [("Equivalent", 1), ("Exact", 0)])
async def test_a_rule_for_one_version_of_a_kind_holds_for_the_others_unless_exact(policy, asked):
    state = make_cluster()
    held = definition(version("v1beta1", storage=False), version())
    row = serve(state, held, "v1beta1")
    async with open_webhook_server() as webhook:
        webhook.at("/loaf", lambda request: allow())
        rules = rule("CREATE", group=GROUP, resource="loaves")
        hook = webhook.hook("/loaf", rules=rules, matchPolicy=policy)
        configure(state, hook, kind=VALIDATING_WEBHOOKS)

        await reviewed(state, partial(state.create, row, loaf(version="v1beta1"), "default"))

    assert len(webhook.asked) == asked
    for request in webhook.asked:
        assert request["kind"]["version"] == "v1"
        assert request["object"]["apiVersion"] == f"{GROUP}/v1"
        assert request["requestKind"]["version"] == "v1beta1"


def serve_by_slice(state: ClusterState, port: int, *, ready: bool = True) -> None:
    held = {"metadata": {"name": "hook", "namespace": "default"}}
    ports = [{"name": "https", "port": 8443, "targetPort": port}]
    state.create(SERVICE, {**held, "spec": {"ports": ports}})
    labels = {"kubernetes.io/service-name": "hook"}
    # Past the API, which lets no slice point to loopback: that is where the test's server is.
    state.store.put(
        ENDPOINT_SLICE,
        {
            "metadata": {**held["metadata"], "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        },
    )


@pytest.mark.parametrize("ready", [True, False])
async def test_a_webhook_of_a_service_is_asked_at_a_ready_endpoint_by_the_services_name(ready):
    state = make_cluster()
    async with open_webhook_server("hook.default.svc") as webhook:
        webhook.at("/mutate", lambda request: label("mutated"))
        service = {"name": "hook", "namespace": "default", "path": "/mutate", "port": 8443}
        config = {"service": service, "caBundle": webhook.ca_bundle}
        configure(state, webhook.hook("/mutate", clientConfig=config))
        serve_by_slice(state, webhook.port, ready=ready)

        if ready:
            assert "mutated" in labels_of(await create_pod(state))
            return
        refused = await refusal(create_pod(state))

    assert 'failed to call webhook: no endpoints available for service "hook"' in refused.message


async def test_a_dialer_makes_every_socket_that_goes_to_a_webhook():
    state = make_cluster()
    plain, dialed = state.dial_webhook, []

    async def dial(host: str):
        dialed.append(host)
        return await plain(host)

    state.dial_webhook = dial
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: allow())
        configure(state, webhook.hook("/mutate"))
        await create_pod(state)

    assert dialed == ["127.0.0.1"]


@pytest.mark.root
async def test_a_webhook_in_another_network_namespace_is_reached_by_a_socket_made_there():
    state = make_cluster()
    with scratch_netns() as netns:
        sock = await listen_in(netns.path, IPv4Address("127.0.0.1"), 4443)
        state.dial_webhook = partial(socket_in, netns.path)
        async with open_webhook_server(sock=sock) as webhook:
            webhook.at("/mutate", lambda request: label("mutated"))
            configure(state, webhook.hook("/mutate"))

            assert "mutated" in labels_of(await create_pod(state))


async def test_the_server_sends_every_write_by_its_webhooks(tmp_path):
    state = make_cluster()
    async with open_webhook_server() as webhook, open_client(state, tmp_path) as client:
        webhook.at("/mutate", lambda request: {**label("mutated"), "warnings": ["take care"]})
        webhook.at("/keep", lambda request: deny("keep it"))
        configure(state, webhook.hook("/mutate"))
        keep = webhook.hook("/keep", rules=rule("DELETE"))
        configure(state, keep, kind=VALIDATING_WEBHOOKS)

        path = "/api/v1/namespaces/default/pods"
        made = await client.request(
            "POST", path, content=json.dumps(pod_manifest(app="web")).encode()
        )
        with pytest.raises(UsageError, match="denied the request: keep it"):
            await client.request("DELETE", f"{path}/a")

    assert json.loads(made)["metadata"]["labels"]["mutated"] == "yes"
    assert state.find(POD, "a", "default") is not None


async def test_manifests_go_by_the_webhooks_when_the_lab_applies_them():
    state = make_cluster()
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: web}}
spec: {containers: [{name: c, image: busybox}]}
"""
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: label("mutated"))
        configure(state, webhook.hook("/mutate"))

        (pod,) = await apply_reviewed(state, text)

    assert labels_of(pod) == {"app": "web", "mutated": "yes"}


async def until(state: ClusterState, holds) -> None:
    changed = asyncio.Event()
    stop = state.store.on_change(lambda change: changed.set())
    try:
        async with asyncio.timeout(20):
            while not holds():
                changed.clear()
                await changed.wait()
    finally:
        stop()


@asynccontextmanager
async def moving(state: ClusterState):
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run_controllers(state))
        try:
            yield
        finally:
            running.cancel()


async def test_pods_that_controllers_make_go_by_the_webhooks_too():
    state = make_cluster()
    async with open_webhook_server() as webhook:
        webhook.at("/mutate", lambda request: label("mutated"))
        configure(state, webhook.hook("/mutate"))
        state.create(DEPLOYMENT, deployment_manifest(replicas=3))

        async with moving(state):
            await until(state, lambda: len(state.list(POD)) >= 3)
            daemons = deployment_manifest("agent")
            del daemons["spec"]["replicas"]
            state.create(DAEMON_SET, daemons)

    pods = state.list(POD)
    assert len(pods) == 3
    assert all("mutated" in labels_of(pod) for pod in pods)
    assert {request["userInfo"]["username"] for request in webhook.asked} == {
        "system:serviceaccount:kube-system:replicaset-controller"
    }


async def test_a_controller_whose_pods_are_refused_says_so_and_tries_again():
    state = make_cluster()
    allowed: list[bool] = []
    async with open_webhook_server() as webhook:
        webhook.at("/judge", lambda request: allow() if allowed else deny("not yet"))
        configure(state, webhook.hook("/judge"), kind=VALIDATING_WEBHOOKS)
        state.create(DEPLOYMENT, deployment_manifest(replicas=1))

        def told() -> bool:
            return any(event["reason"] == "FailedCreate" for event in state.list(EVENT))

        async with moving(state):
            await until(state, told)
            allowed.append(True)
            await until(state, lambda: len(state.list(POD)) == 1)

    event = next(one for one in state.list(EVENT) if one["reason"] == "FailedCreate")
    assert event["message"] == (
        'Error creating: admission webhook "judge.hooks.example.com" denied the request: not yet'
    )
    assert metadata(state.list(POD)[0])["generateName"].startswith("web-")


async def test_a_slow_webhook_holds_up_only_the_controller_that_waits_for_it():
    state = make_cluster()
    add_node(state, "node-1")
    async with open_webhook_server() as webhook:
        webhook.at("/slow", never)
        hook = webhook.hook("/slow", objectSelector={"matchLabels": {"app": "web"}})
        configure(state, hook)
        state.create(DEPLOYMENT, deployment_manifest("web", replicas=1))

        async with moving(state):
            await until_asked(webhook)
            state.create(POD, pod_manifest("other"), "default")

            def is_bound() -> bool:
                return bool(state.get(POD, "other", "default").object["spec"].get("nodeName"))

            await until(state, is_bound)

    assert [metadata(pod)["name"] for pod in state.list(POD)] == ["other"]


async def until_asked(webhook) -> None:
    async with asyncio.timeout(20):
        await webhook.was_asked.wait()


def when(**conditions: str) -> list[dict]:
    return [{"name": name, "expression": text} for name, text in conditions.items()]


async def test_conditions_say_which_writes_a_webhook_sees():
    async with open_webhook_server() as webhook:
        state = make_cluster()
        webhook.at("/deny", lambda request: deny("seen"))
        conditions = when(
            named="object.metadata.labels['app'] == 'web' && oldObject == null",
            asked="request.operation == 'CREATE' && request.resource.resource == 'pods'",
            not_by="request.userInfo.username != 'nobody' && request.namespace == 'default'",
        )
        configure(state, webhook.hook("/deny", matchConditions=conditions))

        assert "seen" in (await refusal(create_pod(state))).message
        other = await create_pod(state, pod_manifest(name="other", app="db"))

        assert labels_of(other)["app"] == "db"
        assert len(webhook.asked) == 1


async def test_a_condition_sees_what_webhooks_before_it_made():
    async with open_webhook_server() as webhook:
        state = make_cluster()
        webhook.at("/first", lambda request: label("first"))
        webhook.at("/second", lambda request: label("second"))
        conditions = when(after="has(object.metadata.labels.first)")
        configure(
            state, webhook.hook("/first"), webhook.hook("/second", matchConditions=conditions)
        )

        assert {"first", "second"} <= labels_of(await create_pod(state)).keys()


async def test_a_condition_without_a_value_leaves_it_to_the_failure_policy():
    conditions = when(wrong="object.metadata.annotations['x'] == 'y'")
    async with open_webhook_server() as webhook:
        webhook.at("/deny", lambda request: deny("seen"))
        failing = make_cluster()
        configure(failing, webhook.hook("/deny", matchConditions=conditions))
        ignoring = make_cluster()
        hook = webhook.hook("/deny", matchConditions=conditions, failurePolicy="Ignore")
        configure(ignoring, hook)

        error = await refusal(create_pod(failing))
        await create_pod(ignoring)

        assert (error.code, error.reason) == (403, "Forbidden")
        expression = conditions[0]["expression"]
        why = f"expression '{expression}' resulted in error: no such key: annotations"
        assert error.message.endswith(f"is forbidden: {why}")
        assert not webhook.asked


async def test_a_condition_that_is_false_needs_no_other():
    async with open_webhook_server() as webhook:
        state = make_cluster()
        webhook.at("/deny", lambda request: deny("seen"))
        conditions = when(wrong="object.none == 1", no="false")
        configure(state, webhook.hook("/deny", matchConditions=conditions))

        await create_pod(state)

        assert not webhook.asked


def broken(**fields) -> dict:
    hook = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://a/"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }
    return {"metadata": {"name": "ours"}, "webhooks": [hook]}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (broken(name="short"), "should be a domain with at least three segments"),
        (broken(sideEffects="Some"), 'webhooks[0].sideEffects: Unsupported value: "Some"'),
        (broken(timeoutSeconds=31), "the timeout value must be between 1 and 30 seconds"),
        (broken(admissionReviewVersions=["v2"]), "must include at least one of v1"),
        (broken(clientConfig={}), "exactly one of url or service is required"),
        (broken(clientConfig={"url": "http://a/"}), "'https' is the only allowed URL scheme"),
        (
            broken(clientConfig={"url": "https://a/", "caBundle": "bm8="}),
            "webhooks[0].clientConfig.caBundle: Invalid value",
        ),
        (
            broken(matchConditions=[{"name": "a", "expression": "object.a +"}]),
            'matchConditions[0].expression: Invalid value: "object.a +": compilation failed: ERR',
        ),
        (
            broken(matchConditions=[{"name": "a", "expression": "objekt.a == 1"}]),
            "undeclared reference to 'objekt' (in container '')",
        ),
        (
            broken(matchConditions=[{"name": "a", "expression": "object.a"}]),
            'webhooks[0].matchConditions[0].expression: Invalid value: "object.a": must evaluate',
        ),
        (
            broken(matchConditions=[{"expression": "true"}]),
            "webhooks[0].matchConditions[0].name: Required value",
        ),
        (
            broken(matchConditions=[{"name": "a", "expression": "true"}] * 2),
            'webhooks[0].matchConditions[1].name: Duplicate value: "a"',
        ),
        (
            broken(matchConditions=[{"name": "a"}]),
            "webhooks[0].matchConditions[0].expression: Required value",
        ),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused_by_its_field(held, words):
    with pytest.raises(ApiError) as caught:
        make_cluster().create(MUTATING_WEBHOOKS, held)
    assert words in caught.value.message


def test_the_ca_of_one_webhook_is_patched_by_the_name_of_the_webhook():
    from terway.lab.kubeapi.state import STRATEGIC

    state = make_cluster()
    state.create(MUTATING_WEBHOOKS, broken())
    change = {"webhooks": [{"name": "a.example.com", "timeoutSeconds": 3}]}

    held = state.patch(MUTATING_WEBHOOKS, "ours", "", change, kind=STRATEGIC).object

    (hook,) = held["webhooks"]
    assert (hook["timeoutSeconds"], hook["clientConfig"]["url"]) == (3, "https://a/")
