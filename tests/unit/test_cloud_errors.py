"""Every code of the cloud means one thing to the agent: wait, read again, or tell a person."""

from __future__ import annotations

import pytest

from terway.cloud.errors import translate
from terway.cloud.permissions import AGENT
from terway.model.errors import (
    CapacityError,
    ConflictError,
    ThrottledError,
    TransientError,
    UsageError,
)

CASES = [
    ("Throttling.User", 400, ThrottledError),
    ("Throttling", 503, ThrottledError),
    ("Whatever", 429, ThrottledError),
    ("InternalError", 500, TransientError),
    ("ServiceUnavailable", 503, TransientError),
    ("Whatever", 502, TransientError),
    ("Operation.Conflict", 403, TransientError),
    ("IdempotentProcessing", 403, TransientError),
    ("SignatureNonceUsed", 400, TransientError),
    ("InvalidSecurityToken.Expired", 400, TransientError),
    ("InvalidVSwitchId.IpNotEnough", 403, CapacityError),
    ("QuotaExceeded.PrivateIpAddress", 403, CapacityError),
    ("EniPerInstanceLimitExceeded", 403, CapacityError),
    ("InvalidOperation.Ipv4CountExceeded", 403, CapacityError),
    ("InvalidOperation.Ipv6CountExceeded", 403, CapacityError),
    ("SecurityGroupInstanceLimitExceed", 403, CapacityError),
    ("InvalidEniId.NotFound", 404, ConflictError),
    ("InvalidEcsId.NotFound", 404, ConflictError),
    ("InvalidIp.IpUnassigned", 403, ConflictError),
    ("InvalidOperation.InvalidEniState", 400, ConflictError),
    ("IdempotentFailed", 403, ConflictError),
    ("IdempotentParameterMismatch", 400, ConflictError),
    ("Forbidden.RAM", 403, UsageError),
    ("InvalidVSwitchId.NotFound", 404, UsageError),
    ("InvalidParameter", 400, UsageError),
    ("IncorrectStatus.serverGroup", 400, TransientError),
    ("OperationDenied.QuotaLimitExceed", 400, CapacityError),
    ("InvalidLoadBalancerId.NotFound", 404, ConflictError),
    ("RspoolVipExist", 400, ConflictError),
    ("ResourceNotFound.serverGroup", 404, ConflictError),
    ("ResourceAlreadyExist.Listener", 400, ConflictError),
    ("OperationDenied.DeleteProtectionIsOn", 400, UsageError),
    ("OperationDenied.DeletionProtectionEnabled", 400, UsageError),
]


@pytest.mark.parametrize(("code", "status", "kind"), CASES)
def test_a_code_has_one_class(code, status, kind):
    error = translate(action="A", status=status, code=code, message="m", request_id="R-1")

    assert type(error) is kind
    assert error.code == code
    assert "R-1" in str(error)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("Forbidden.RAM", "grant this action"),
        ("InvalidAccessKeyId.NotFound", "access_key"),
        ("SignatureDoesNotMatch", "access_secret"),
        ("InvalidTimeStamp.Expired", "clock"),
        ("InvalidVSwitchId.NotFound", "vswitches"),
    ],
)
def test_a_person_is_told_what_to_do(code, remedy):
    error = translate(action="A", status=403, code=code, message="m", request_id="R")

    assert remedy in str(error)


def test_a_vserver_group_that_is_gone_is_known_by_its_text_for_it_has_no_code():
    said = "The specified VServerGroupId does not exist: rsp-1."

    error = translate(
        action="A", status=400, code="InvalidParameter", message=said, request_id="R-1"
    )

    assert type(error) is ConflictError
    assert error.code == "InvalidVServerGroupId.NotFound"


def test_a_wrong_secret_is_looked_for_where_keys_come_from():
    said = str(
        translate(action="A", status=400, code="SignatureDoesNotMatch", message="", request_id="")
    )

    assert "access_secret in eni_conf" in said
    assert "ALIBABA_CLOUD_ACCESS_KEY_SECRET" in said


@pytest.mark.parametrize("action", AGENT)
def test_who_may_not_call_an_action_is_told_its_name_in_a_policy_and_where_that_policy_is(action):
    _, _, name = action.partition(":")
    message = "User not authorized to operate on the specified resource."

    error = translate(
        action=name, status=403, code="Forbidden.RAM", message=message, request_id="R"
    )

    assert f"grant this action, {action}," in str(error)
    assert "deploy/ram-controlplane.json" in str(error)
