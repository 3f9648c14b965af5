"""What the server stores, and what it refuses in which words."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import metadata, read_path, replace_in
from terway.lab.kubeapi.resources import CONFIG_MAP, DEPLOYMENT, NODE, POD, SERVICE
from terway.lab.kubeapi.writes import WriteOptions
from tests.support.cluster import deployment_manifest, make_cluster, pod_manifest


def refusal(call, *args, **kwargs) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_a_new_object_gets_what_only_the_server_gives():
    state = make_cluster()

    meta = metadata(state.create(POD, pod_manifest()).object)

    assert meta["uid"]
    assert meta["creationTimestamp"] == "2025-10-09T08:53:20Z"
    assert meta["resourceVersion"] == str(state.store.revision)


def test_the_same_requests_give_the_same_cluster_uids_included():
    first, second = make_cluster(), make_cluster()

    assert first.create(POD, pod_manifest()).object == second.create(POD, pod_manifest()).object


def test_a_taken_name_is_refused():
    state = make_cluster()
    state.create(POD, pod_manifest())

    error = refusal(state.create, POD, pod_manifest())

    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.message == 'pods "a" already exists'


def test_generate_name_makes_a_new_name_each_time():
    state = make_cluster()
    manifest = pod_manifest()
    manifest["metadata"] = {"generateName": "web-", "namespace": "default"}

    names = {metadata(state.create(POD, manifest).object)["name"] for _ in range(5)}

    assert len(names) == 5
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


PORT_RANGE = "must be between 1 and 65535, inclusive"
POLICIES = 'supported values: "Always", "OnFailure", "Never"'


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.containers", [], "spec.containers: Required value"),
        (
            "spec.containers",
            [{"name": "c"}],
            "spec.containers[0].image: Required value",
        ),
        (
            "spec.containers",
            [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}],
            'spec.containers[1].name: Duplicate value: "c"',
        ),
        (
            "spec.containers",
            [{"name": "c", "image": "x", "ports": [{"containerPort": 70000}]}],
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: " + PORT_RANGE,
        ),
        (
            "spec.containers",
            [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            "spec.restartPolicy",
            "Sometimes",
            'spec.restartPolicy: Unsupported value: "Sometimes": ' + POLICIES,
        ),
    ],
)
def test_a_broken_pod_is_refused_with_the_path_of_the_field(path, value, message):
    error = refusal(make_cluster().create, POD, replace_in(pod_manifest(), path, value))

    assert (error.code, error.reason, error.message) == (
        422,
        "Invalid",
        f'Pod "a" is invalid: {message}',
    )


def test_a_name_that_is_no_dns_name_is_refused():
    error = refusal(make_cluster().create, POD, pod_manifest("Not_A_Name"))

    assert error.code == 422
    assert error.details["causes"][0]["field"] == "metadata.name"


def test_a_deployment_whose_selector_misses_its_pods_is_refused():
    manifest = replace_in(deployment_manifest(), "spec.selector.matchLabels", {"app": "other"})

    error = refusal(make_cluster().create, DEPLOYMENT, manifest)

    assert "`selector` does not match template `labels`" in error.message


def test_a_namespace_that_is_not_there_is_refused():
    error = refusal(make_cluster().create, CONFIG_MAP, {"metadata": {"name": "x"}}, "nowhere")

    assert (error.code, error.message) == (404, 'namespaces "nowhere" not found')


def test_a_value_of_the_wrong_type_is_a_bad_request():
    manifest = replace_in(deployment_manifest(), "spec.replicas", "three")

    error = refusal(make_cluster().create, DEPLOYMENT, manifest)

    assert error.code == 400
    assert "cannot unmarshal string into Go struct field spec.replicas" in error.message


def test_an_unknown_field_is_refused_when_the_client_is_strict():
    manifest = replace_in(pod_manifest(), "spec.colour", "red")

    options = WriteOptions(field_validation="Strict")
    error = refusal(make_cluster().create, POD, manifest, "default", options)

    assert error.message == 'strict decoding error: unknown field "spec.colour"'


def test_an_unknown_field_is_dropped_with_a_warning_otherwise():
    options = WriteOptions()

    pod = make_cluster().create(
        POD, replace_in(pod_manifest(), "spec.colour", "red"), "default", options
    )

    assert "colour" not in pod.object["spec"]
    assert options.warnings == ['unknown field "spec.colour"']


def test_a_write_from_an_old_version_is_a_conflict():
    state = make_cluster()
    old = state.create(CONFIG_MAP, {"metadata": {"name": "x"}}, "default").object
    state.patch(CONFIG_MAP, "x", "default", {"data": {"a": "1"}})

    error = refusal(state.update, CONFIG_MAP, "x", "default", old)

    assert (error.code, error.reason) == (409, "Conflict")
    assert "the object has been modified" in error.message


def test_a_write_that_changes_nothing_makes_no_revision():
    state = make_cluster()
    held = state.create(CONFIG_MAP, {"metadata": {"name": "x"}, "data": {"a": "1"}}, "default")
    before = state.store.revision

    state.patch(CONFIG_MAP, "x", "default", {"data": {"a": "1"}})
    state.update(CONFIG_MAP, "x", "default", held.object)

    assert state.store.revision == before


def test_a_status_write_leaves_the_spec_and_a_spec_write_the_status():
    state = make_cluster()
    state.create(DEPLOYMENT, deployment_manifest())
    patch = {"spec": {"replicas": 9}, "status": {"replicas": 2}}

    by_status = state.patch(DEPLOYMENT, "web", "default", patch, subresource="status").object
    by_spec = state.patch(DEPLOYMENT, "web", "default", {**patch, "status": {"replicas": 7}}).object

    assert (by_status["spec"]["replicas"], by_status["status"]["replicas"]) == (3, 2)
    assert (by_spec["spec"]["replicas"], by_spec["status"]["replicas"]) == (9, 2)


def test_generation_counts_changes_of_spec_only():
    state = make_cluster()
    state.create(DEPLOYMENT, deployment_manifest())

    state.patch(DEPLOYMENT, "web", "default", {"metadata": {"labels": {"x": "y"}}})
    state.patch(DEPLOYMENT, "web", "default", {"status": {"replicas": 1}}, subresource="status")
    changed = state.patch(DEPLOYMENT, "web", "default", {"spec": {"replicas": 4}}).object

    assert metadata(changed)["generation"] == 2


def test_a_pods_image_may_change_and_its_command_may_not():
    state = make_cluster()
    pod = state.create(POD, pod_manifest()).object
    container = read_path(pod, "spec.containers")[0]

    state.patch(POD, "a", "default", {"spec": {"containers": [{**container, "image": "new"}]}})
    patch = {"spec": {"containers": [{**container, "command": ["x"]}]}}
    error = refusal(state.patch, POD, "a", "default", patch)

    assert error.code == 422
    assert "pod updates may not change fields other than" in error.message


def test_a_dry_run_answers_as_if_and_stores_nothing():
    state = make_cluster()
    before = state.store.revision

    pod = state.create(POD, pod_manifest(), "default", WriteOptions(dry_run=True)).object

    assert metadata(pod)["uid"]
    assert state.find(POD, "a", "default") is None
    assert state.store.revision == before


def test_a_node_registers_with_its_status_and_takes_no_pods_until_it_is_ready():
    status = {"conditions": [{"type": "Ready", "status": "False"}]}

    node = make_cluster().create(NODE, {"metadata": {"name": "n"}, "status": status}).object

    assert node["status"] == status
    assert node["spec"]["taints"] == [
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    ]


def test_each_service_gets_an_address_of_its_own():
    state = make_cluster()
    ports = {"spec": {"ports": [{"port": 80}]}}

    addresses = [
        read_path(
            state.create(SERVICE, {"metadata": {"name": n}, **ports}, "default").object,
            "spec.clusterIP",
        )
        for n in ("s1", "s2")
    ]

    assert addresses == ["172.21.0.2", "172.21.0.3"]  # .1 is the API server's


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("spec.tolerations", [None], "null is not allowed in the list at spec.tolerations[0]"),
        ("metadata.creationTimestamp", "yesterday", 'string "yesterday" into Go struct field'),
        ("spec.overhead", {"cpu": "lots"}, 'string "lots" into Go struct field spec.overhead.cpu'),
        ("spec.hostNetwork", "yes", "into Go struct field spec.hostNetwork of type bool"),
        ("spec.priority", True, "cannot unmarshal bool"),
        ("metadata.labels", ["a"], "cannot unmarshal array"),
    ],
)
def test_what_controllers_could_not_read_is_never_stored(path, value, word):
    error = refusal(make_cluster().create, POD, replace_in(pod_manifest(), path, value))

    assert error.code == 400
    assert word in error.message


def test_a_quantity_may_be_written_as_a_number():
    containers = [{"name": "c", "image": "x", "resources": {"limits": {"cpu": 1}}}]

    pod = (
        make_cluster().create(POD, replace_in(pod_manifest(), "spec.containers", containers)).object
    )

    resources = read_path(pod, "spec.containers")[0]["resources"]
    assert resources == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (
            "spec.strategy.rollingUpdate",
            {"maxSurge": "many"},
            "spec.strategy.rollingUpdate.maxSurge",
        ),
        (
            "spec.selector.matchExpressions",
            [{"key": "app", "operator": "Like"}],
            "spec.template.metadata.labels",
        ),
        ("metadata.ownerReferences", [{"name": "x"}], "metadata.ownerReferences[0].apiVersion"),
        ("spec.replicas", -1, "spec.replicas"),
    ],
)
def test_a_broken_deployment_is_refused_with_the_path_of_the_field(path, value, field):
    manifest = replace_in(deployment_manifest(), path, value)

    error = refusal(make_cluster().create, DEPLOYMENT, manifest)

    assert error.details["causes"][0]["field"] == field
