"""Whatever is done to a StatefulSet, in whatever order, it ends as was wished for last."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.objects import (
    is_pod_ready,
    is_terminating,
    name_of,
    read_path,
    replace_in,
)
from terway.lab.kubeapi.resources import POD, STATEFUL_SET
from tests.support.cluster import deployment_manifest, make_cluster
from tests.support.paper_kubelet import add_node, confirm_end, make_ready, run_until_quiet

steps = st.lists(
    st.one_of(
        st.tuples(st.just("kubelet"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 3)),
        st.tuples(st.just("scale"), st.integers(0, 4)),
        st.tuples(st.just("image"), st.sampled_from(("busybox", "second", "third"))),
        st.tuples(st.just("partition"), st.integers(0, 2)),
    ),
    max_size=12,
)


def manifest(policy):
    obj = deployment_manifest(replicas=3)
    return replace_in(obj, "spec.podManagementPolicy", policy)


def change(state, path, value):
    held = state.get(STATEFUL_SET, "web", "default").object
    state.update(STATEFUL_SET, "web", "default", replace_in(held, path, value))


def act(state, what, value):
    match what:
        case "kubelet":
            if pods := state.list(POD):
                pod = pods[value % len(pods)]
                (confirm_end if is_terminating(pod) else make_ready)(state, pod)
        case "delete":
            if pods := state.list(POD):
                state.delete(POD, name_of(pods[value % len(pods)]), "default")
        case "scale":
            change(state, "spec.replicas", value)
        case "image":
            change(state, "spec.template.spec.containers", [{"name": "c", "image": value}])
        case "partition":
            change(state, "spec.updateStrategy.rollingUpdate.partition", value)
        case _:
            raise AssertionError(what)


def ordinal(pod):
    return int(name_of(pod).rpartition("-")[2])


def watch_births(state, births):
    """Note, for each pod that is made, how many of those below it were ready then."""

    def on_change(one):
        if one.resource is POD and one.old is None:
            number = ordinal(one.new.object)
            ready = [pod for pod in state.list(POD) if is_pod_ready(pod)]
            births.append((number, sum(ordinal(pod) < number for pod in ready)))

    return state.store.on_change(on_change)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_an_ordered_set_makes_no_pod_before_those_below_it_are_ready(history):
    state = make_cluster()
    add_node(state, "n1")
    births: list[tuple[int, int]] = []
    watch_births(state, births)
    state.create(STATEFUL_SET, manifest("OrderedReady"))

    for what, value in history:
        settle(state)
        act(state, what, value)
    run_until_quiet(state)

    assert all(number == ready for number, ready in births)


@given(steps, st.sampled_from(("OrderedReady", "Parallel")))
@settings(max_examples=60, deadline=None)
def test_a_set_ends_with_the_pods_that_were_wished_for_last(history, policy):
    state = make_cluster()
    add_node(state, "n1")
    state.create(STATEFUL_SET, manifest(policy))

    for what, value in history:
        act(state, what, value)
        settle(state)
    run_until_quiet(state)

    held = state.get(STATEFUL_SET, "web", "default").object
    wanted = read_path(held, "spec.replicas")
    pods = state.list(POD)
    assert [name_of(pod) for pod in pods] == [f"web-{number}" for number in range(wanted)]
    assert all(map(is_pod_ready, pods))
    assert held["status"]["readyReplicas"] == wanted
    partition = read_path(held, "spec.updateStrategy.rollingUpdate.partition")
    image = read_path(held, "spec.template.spec.containers")[0]["image"]
    newest = [
        read_path(pod, "spec.containers")[0]["image"] for pod in pods if ordinal(pod) >= partition
    ]
    assert set(newest) <= {image}
