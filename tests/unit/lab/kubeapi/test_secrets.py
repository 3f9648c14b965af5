"""Secrets as the real server has them: the certificate of a webhook is in one."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.resources import SECRET
from tests.support.cluster import make_cluster


def secret(**fields) -> dict:
    return {"metadata": {"name": "a", "namespace": "default"}, **fields}


def refusal(call, *args) -> str:
    with pytest.raises(ApiError) as caught:
        call(*args)
    return caught.value.message


def test_text_becomes_data_and_an_opaque_secret_is_the_default():
    held = secret(data={"a": "YQ=="}, stringData={"b": "b"})

    made = make_cluster().create(SECRET, held).object

    assert (made["type"], made["data"]) == ("Opaque", {"a": "YQ==", "b": "Yg=="})
    assert "stringData" not in made


def test_data_that_is_not_base64_is_refused():
    assert "data.a" in refusal(make_cluster().create, SECRET, secret(data={"a": "no!"}))


def test_a_tls_secret_has_certificate_and_key():
    held = secret(type="kubernetes.io/tls", data={"tls.crt": "YQ=="})

    assert "data[tls.key]: Required value" in refusal(make_cluster().create, SECRET, held)


def test_type_and_immutable_data_stay_as_they_are():
    state = make_cluster()
    state.create(SECRET, secret(immutable=True, data={"a": "YQ=="}))

    other = {"data": {"a": "Yg=="}}
    assert "data: Forbidden" in refusal(state.patch, SECRET, "a", "default", other)
    retyped = {"type": "example.com/other"}
    assert "type: Invalid value" in refusal(state.patch, SECRET, "a", "default", retyped)
