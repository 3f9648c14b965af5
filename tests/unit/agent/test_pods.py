"""Which pod may have an address, and when a pod counts as gone."""

from __future__ import annotations

import pytest

from terway.agent.pods import IGNORE_LABEL, is_same, require_eligible
from terway.kube.types import ObjectMeta, Pod, PodSpec
from terway.model.attachment import PodRef
from terway.model.errors import TransientError, UsageError

REF = PodRef(namespace="default", name="web", uid="u1")


def pod(*, uid="u1", host_network=False, **meta):
    metadata = ObjectMeta(namespace="default", name="web", uid=uid, **meta)
    return Pod(metadata=metadata, spec=PodSpec(host_network=host_network))


def test_an_ordinary_pod_may():
    assert require_eligible(pod(), REF) == pod()


@pytest.mark.parametrize(
    ("found", "error", "text"),
    [
        (None, TransientError, "not in the API server"),
        (pod(uid="u2"), TransientError, "has uid u2 now"),
        (pod(host_network=True), UsageError, "host's network"),
        (pod(labels={IGNORE_LABEL: "true"}), UsageError, IGNORE_LABEL),
    ],
)
def test_others_may_not_and_the_reason_is_said(found, error, text):
    with pytest.raises(error, match=text):
        require_eligible(found, REF)


def test_a_static_pod_is_known_to_the_api_by_its_mirrors_uid():
    mirror = pod(uid="u2", annotations={"kubernetes.io/config.mirror": "u1"})

    assert is_same(mirror, REF)


def test_without_a_uid_the_name_must_do():
    assert is_same(pod(uid="any"), PodRef(namespace="default", name="web"))
