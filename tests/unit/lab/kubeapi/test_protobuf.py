"""Bodies as kubectl 1.32 sends them, caught on the wire."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.protobuf import decode_protobuf

NAMESPACE = (
    b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x1c\n\x14\n\x04team\x12\x00\x1a\x00"\x00*\x002\x00'
    b'8\x00B\x00\x12\x00\x1a\x02\n\x00\x1a\x00"\x00'
)
CONFIG_MAP = (
    b'k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01c\x12\x00\x1a\x00"\x00*\x002\x008\x00'
    b'B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00"\x00'
)


def test_empty_fields_are_absent_and_empty_messages_are_not():
    assert decode_protobuf(NAMESPACE) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team"},
        "spec": {},
        "status": {},
    }


def test_maps_are_read():
    assert decode_protobuf(CONFIG_MAP) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"a": "b"},
    }


def message(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2, len(body)]) + body


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = message(1, api_version.encode()) + message(2, kind.encode())
    return b"k8s\x00" + message(1, type_meta) + message(2, raw)


def test_a_zero_that_means_something_stays():
    # DeploymentSpec{replicas = 1: 0, minReadySeconds = 5: 0}
    deployment = decode_protobuf(
        envelope("apps/v1", "Deployment", message(2, bytes([1 << 3, 0, 5 << 3, 0])))
    )

    assert deployment["spec"] == {"replicas": 0}


def test_forms_of_their_own_are_those_of_json():
    # ServiceSpec.ports[].targetPort = 4: IntOrString{type = 1: 1, strVal = 3: "web"}
    port = message(4, bytes([1 << 3, 1]) + message(3, b"web"))
    service = decode_protobuf(envelope("v1", "Service", message(2, message(1, port))))
    # ObjectMeta.creationTimestamp = 8: Time{seconds = 1: 1}
    dated = decode_protobuf(envelope("v1", "Namespace", message(1, message(8, bytes([1 << 3, 1])))))
    # Secret.data = 2: {key = 1, value = 2}
    secret = decode_protobuf(
        envelope("v1", "Secret", message(2, message(1, b"k") + message(2, b"\xff")))
    )

    assert service["spec"] == {"ports": [{"targetPort": "web"}]}
    assert dated["metadata"] == {"creationTimestamp": "1970-01-01T00:00:01Z"}
    assert secret["data"] == {"k": "/w=="}


def test_the_fields_of_an_inlined_message_are_the_outer_ones():
    # PodSpec.volumes = 1: Volume{name = 1, volumeSource = 2: {emptyDir = 2}}
    volume = message(1, b"v") + message(2, message(2, b""))
    pod = decode_protobuf(envelope("v1", "Pod", message(2, message(1, volume))))

    assert pod["spec"] == {"volumes": [{"name": "v", "emptyDir": {}}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        NAMESPACE[:-5],
        envelope("v1", "Unheard", b""),
        b"k8s\x00\x08",
        b"k8s\x00" + message(2, b"no type"),
    ],
)
def test_what_is_broken_is_refused(body):
    with pytest.raises(ApiError) as caught:
        decode_protobuf(body)

    assert caught.value.code == 400
