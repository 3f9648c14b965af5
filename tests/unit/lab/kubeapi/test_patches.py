"""The four kinds of patch."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import labels_of, metadata, read_path, replace_in
from terway.lab.kubeapi.patch import json_patch, merge_patch, strategic_patch
from terway.lab.kubeapi.resources import DEPLOYMENT
from terway.lab.kubeapi.schema import type_named
from terway.lab.kubeapi.state import APPLY
from terway.lab.kubeapi.writes import WriteOptions
from tests.support.cluster import deployment_manifest, make_cluster

POD = type_named("Pod")


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(target, patch, result):
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("target", "operation", "result"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "q"}, {"baz": "q", "foo": "bar"}),
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"a": 1}, {"op": "replace", "path": "/a", "value": 2}, {"a": 2}),
        (
            {"a": {"x": 1}, "b": {}},
            {"op": "move", "from": "/a/x", "path": "/b/y"},
            {"a": {}, "b": {"y": 1}},
        ),
        ({"a": 1}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": 1, "b": 1}),
        ({"a/b": 1}, {"op": "test", "path": "/a~1b", "value": 1}, {"a/b": 1}),
    ],
)
def test_a_json_patch_does_what_the_rfc_says(target, operation, result):
    assert json_patch(target, [operation]) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "spoil", "path": "/a"},
    ],
)
def test_a_json_patch_that_does_not_apply_is_refused(operation):
    with pytest.raises(ApiError) as caught:
        json_patch({"a": 1, "list": []}, [operation])

    assert caught.value.code == 422


def pod_with(*containers):
    return {"spec": {"containers": list(containers)}}


A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (pod_with(A, B), pod_with({"name": "b", "image": "2"}), pod_with(A, {**B, "image": "2"})),
        (pod_with(A), pod_with(B), pod_with(A, B)),
        (pod_with(A, B), pod_with({"name": "a", "$patch": "delete"}), pod_with(B)),
        (pod_with(A, B), pod_with({"$patch": "replace"}, B), pod_with(B)),
        (
            {"metadata": {"finalizers": ["x"]}},
            {"metadata": {"finalizers": ["y", "x"]}},
            {"metadata": {"finalizers": ["x", "y"]}},
        ),
        (
            {"metadata": {"finalizers": ["x", "y"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}},
            {"metadata": {"finalizers": ["y"]}},
        ),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        ),
        (  # tolerations have no merge key: the list is one value
            {"spec": {"tolerations": [{"key": "x"}]}},
            {"spec": {"tolerations": [{"key": "y"}]}},
            {"spec": {"tolerations": [{"key": "y"}]}},
        ),
        (
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
            {
                "spec": {
                    "volumes": [
                        {
                            "name": "v",
                            "$retainKeys": ["name", "hostPath"],
                            "hostPath": {"path": "/x"},
                        }
                    ]
                }
            },
            {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
        ),
        (
            pod_with(A, B),
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            pod_with(B, A),
        ),
    ],
)
def test_a_strategic_patch_merges_lists_by_their_keys(target, patch, result):
    assert strategic_patch(target, patch, POD) == result


def apply(state, manifest, manager, *, force=False):
    options = WriteOptions(field_manager=manager, force=force)
    name = manifest["metadata"]["name"]
    return state.patch(DEPLOYMENT, name, "default", manifest, kind=APPLY, options=options).object


def image_of(deployment):
    return read_path(deployment, "spec.template.spec.containers")[0]["image"]


def test_an_apply_creates_what_is_not_there():
    deployment = apply(make_cluster(), deployment_manifest(), "me")

    assert deployment["spec"]["replicas"] == 3
    assert metadata(deployment)["managedFields"][0]["manager"] == "me"


def test_an_apply_of_another_value_than_another_managers_is_a_conflict():
    state = make_cluster()
    apply(state, deployment_manifest(image="one"), "first")

    with pytest.raises(ApiError) as caught:
        apply(state, deployment_manifest(image="two"), "second")

    assert caught.value.code == 409
    assert caught.value.details["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "first"',
            "field": '.spec.template.spec.containers[name="c"].image',
        }
    ]


def test_a_forced_apply_takes_the_field_over():
    state = make_cluster()
    apply(state, deployment_manifest(image="one"), "first")

    taken = apply(state, deployment_manifest(image="two"), "second", force=True)

    assert image_of(taken) == "two"
    with pytest.raises(ApiError, match="conflicts with"):
        apply(state, deployment_manifest(image="three"), "first")


def test_two_managers_may_own_the_same_value():
    state = make_cluster()
    apply(state, deployment_manifest(), "first")
    apply(state, deployment_manifest(), "second")

    with pytest.raises(ApiError, match='conflicts with "first"'):
        apply(state, deployment_manifest(image="new"), "second")


def test_what_a_manager_no_longer_applies_goes_unless_another_wants_it():
    state = make_cluster()
    with_labels = replace_in(deployment_manifest(), "metadata.labels", {"mine": "1", "ours": "1"})
    apply(state, with_labels, "first")
    shared = {"metadata": {"name": "web", "labels": {"ours": "1"}}}
    apply(state, shared, "second")

    deployment = apply(state, deployment_manifest(), "first")

    assert labels_of(deployment) == {"ours": "1"}


def test_what_was_there_before_the_first_apply_is_somebody_elses():
    state = make_cluster()
    state.create(DEPLOYMENT, deployment_manifest(replicas=3))

    with pytest.raises(ApiError, match=r'conflicts with "before-first-apply": \.spec.replicas'):
        apply(state, deployment_manifest(replicas=5), "me")


def test_an_ordinary_write_takes_the_field_from_the_one_who_applied_it():
    state = make_cluster()
    apply(state, deployment_manifest(replicas=3), "me")
    scaled = WriteOptions(field_manager="autoscaler")
    state.patch(DEPLOYMENT, "web", "default", {"spec": {"replicas": 7}}, options=scaled)

    with pytest.raises(ApiError, match=r'conflicts with "autoscaler": \.spec.replicas'):
        apply(state, deployment_manifest(replicas=3), "me")


def test_applying_the_same_again_changes_nothing():
    state = make_cluster()
    apply(state, deployment_manifest(), "me")
    before = state.store.revision

    apply(state, deployment_manifest(), "me")

    assert state.store.revision == before
