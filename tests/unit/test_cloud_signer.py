"""The agent signs as the vendor describes, and the cloud believes nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.cloud.credentials import Credentials
from terway.cloud.query import Value, canonical_query, flatten
from terway.cloud.signer import signed_headers
from terway.lab.cloud.ids import IdSource
from terway.lab.cloud.keyring import Keyring
from terway.lab.cloud.refusal import Refusal
from terway.lab.cloud.signature import SignedRequest, Verifier
from tests.support.cloud_world import START, VirtualClock

DATE = "2026-09-21T14:13:20Z"  # START
PARAMETERS: dict[str, Value] = {
    "RegionId": "cn-hangzhou",
    "Tag": [{"Key": "a b", "Value": "~*+/%ü"}],
    "Empty": "",
}


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def keyring(clock):
    return Keyring(IdSource(1), clock=clock, account_id="1")


@pytest.fixture
def verifier(keyring, clock):
    return Verifier(keyring, clock=clock)


def signed(key, *, nonce="n-1", date=DATE, secret=None, token=None):
    query = canonical_query(flatten(PARAMETERS))
    credentials = Credentials(
        access_key_id=key.id,
        access_key_secret=key.secret if secret is None else secret,
        security_token=key.security_token if token is None else token,
    )
    headers = signed_headers(
        host="ecs.example",
        version="2014-05-26",
        action="DescribeRegions",
        query=query,
        credentials=credentials,
        date=date,
        nonce=nonce,
    )
    return SignedRequest(method="POST", path="/", query=query, headers=headers)


def code_of(verifier, request):
    with pytest.raises(Refusal) as caught:
        verifier.verify(request)
    return caught.value.code


def test_the_signature_is_the_one_of_a_known_call():
    # Computed by hand from the description of the signature: sha256 and hmac of openssl.
    headers = signed_headers(
        host="ecs.example",
        version="2014-05-26",
        action="DescribeRegions",
        query="RegionId=cn-hangzhou",
        credentials=Credentials(access_key_id="id", access_key_secret="secret"),
        date="2026-01-02T03:04:05Z",
        nonce="nonce",
    )

    assert headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-action;x-acs-content-sha256;"
        "x-acs-date;x-acs-signature-nonce;x-acs-version,Signature="
        "f28c6d863f9bd555aa9fd4444e9e9ec44a9a6b2449cfd5c818342fc378ca90ab"
    )


def test_parameters_are_flattened_sorted_and_escaped():
    assert canonical_query(flatten(PARAMETERS)) == (
        "Empty=&RegionId=cn-hangzhou&Tag.1.Key=a%20b&Tag.1.Value=~%2A%2B%2F%25%C3%BC"
    )


def test_what_is_none_is_left_out_and_switches_are_lower_case():
    assert flatten({"A": None, "B": True, "C": [1, 2], "D": {"E": False}}) == {
        "B": "true",
        "C.1": "1",
        "C.2": "2",
        "D.E": "false",
    }


def test_a_signed_call_is_believed(verifier, keyring):
    key = keyring.create_key("agent")

    assert verifier.verify(signed(key)) == key


def test_temporary_keys_are_believed_until_they_expire(verifier, keyring, clock):
    keyring.create_role("node")
    key = keyring.assume("node", life_s=100.0)

    assert verifier.verify(signed(key)) == key
    clock.now += 100.0
    assert code_of(verifier, signed(key, nonce="n-2")) == "InvalidSecurityToken.Expired"


def test_a_token_of_other_keys_is_refused(verifier, keyring):
    keyring.create_role("node")
    key = keyring.assume("node", life_s=100.0)

    refused = signed(key, token="other")

    assert code_of(verifier, refused) == "InvalidSecurityToken.MismatchWithAccessKey"
    assert code_of(verifier, signed(key, token="")) == "MissingSecurityToken"


def test_a_wrong_secret_is_refused(verifier, keyring):
    key = keyring.create_key("agent")

    assert code_of(verifier, signed(key, secret="guess")) == "SignatureDoesNotMatch"


def test_a_changed_call_is_refused(verifier, keyring):
    request = signed(keyring.create_key("agent"))

    changed = replace(request, query=request.query.replace("hangzhou", "beijing"))

    assert code_of(verifier, changed) == "SignatureDoesNotMatch"


def test_a_changed_body_is_refused(verifier, keyring):
    request = signed(keyring.create_key("agent"))

    assert code_of(verifier, replace(request, body=b"x")) == "SignatureDoesNotMatch"


def test_an_unknown_key_is_refused(verifier, keyring):
    key = keyring.create_key("agent")
    keyring.revoke(key.id)

    assert code_of(verifier, signed(key)) == "InvalidAccessKeyId.NotFound"


def test_an_unsigned_call_is_refused(verifier, keyring):
    request = signed(keyring.create_key("agent"))
    headers = {k: v for k, v in request.headers.items() if k != "authorization"}

    assert code_of(verifier, replace(request, headers=headers)) == "IncompleteSignature"


def test_a_header_outside_the_signature_is_refused(verifier, keyring):
    request = signed(keyring.create_key("agent"))
    headers = {**request.headers, "x-acs-extra": "1"}

    assert code_of(verifier, replace(request, headers=headers)) == "IncompleteSignature"


@pytest.mark.parametrize("skew_s", [-901.0, 901.0])
def test_an_old_or_early_call_is_refused(verifier, keyring, clock, skew_s):
    clock.now = START + skew_s

    refused = signed(keyring.create_key("agent"))

    assert code_of(verifier, refused) == "InvalidTimeStamp.Expired"


def test_a_malformed_date_is_refused(verifier, keyring):
    refused = signed(keyring.create_key("agent"), date="yesterday")

    assert code_of(verifier, refused) == "InvalidTimeStamp.Format"


def test_a_call_cannot_be_replayed(verifier, keyring):
    request = signed(keyring.create_key("agent"))
    verifier.verify(request)

    assert code_of(verifier, request) == "SignatureNonceUsed"


def test_secrets_are_not_shown():
    shown = repr(Credentials(access_key_id="id", access_key_secret="s3", security_token="t0"))

    assert "s3" not in shown
    assert "t0" not in shown
