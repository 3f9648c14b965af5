"""What does an error code of the cloud mean to us? The one translation to the project's classes.

The class decides whether to retry, so it is chosen by what the caller can do: wait (Throttled,
Transient, Capacity), read again (Conflict), or have a person change something (Usage).
Source: API error center, ECS 2014-05-26 and VPC 2016-04-28.
"""

from __future__ import annotations

from terway.cloud.permissions import CONTROL_PLANE
from terway.model.errors import (
    CapacityError,
    ConflictError,
    ThrottledError,
    TransientError,
    UsageError,
    VpcError,
)

# How long a full vSwitch or an exhausted quota stays so, before asking again is worth a call.
CAPACITY_RETRY_AFTER_S = 60.0

_THROTTLED = ("Throttling", "QpsLimitExceeded", "FlowLimit")
_TRANSIENT = (
    "InternalError",
    "ServiceUnavailable",
    "UnknownError",
    "LastTokenProcessing",
    "IdempotentProcessing",
    "Operation.Conflict",  # another operation on the same ENI is running
    "OperationConflict",
    "TaskConflict",
    "SignatureNonceUsed",
    "IncorrectStatus",  # NLB: another job of the same thing is running
    "Conflict.Lock",
    "SystemBusy",
    "BackendServer.configuring",
    "ServiceIsConfiguring",
    "InvalidSecurityToken",  # the provider fetches new keys for the next call
)
_CAPACITY = (
    "InvalidVSwitchId.IpNotEnough",
    "InvalidOperation.Ipv4CountExceeded",
    "InvalidOperation.Ipv6CountExceeded",
    "EniPerInstanceLimitExceeded",
    "SecurityGroupInstanceLimitExceed",
    "QuotaExceeded",
    "QuotaExceed",
    "MaxEniIpv6IPQuotaExceeded",
    "OperationDenied.QuotaLimitExceed",
    "OperationDenied.ListenerQuotaExceeded",
    "TooManyBackendServers",
    "AclEntryLimitExceeded",
    "ObtainIpFail",
)
_CONFLICT = (
    "InvalidEniId.NotFound",
    "InvalidEcsId.NotFound",
    "InvalidInstanceId.NotFound",
    "InvalidIp.",
    "InvalidOperation.InvalidEniState",
    "InvalidOperation.InvalidEcsState",
    "IncorrectInstanceStatus",
    "IncorrectVSwitchStatus",
    "IncorrectVpcStatus",
    "IdempotentFailed",
    "IdempotentParameterMismatch",
    "InvalidLoadBalancerId.NotFound",
    "InvalidVServerGroupId.NotFound",
    "InvalidListenerPort.NotFound",
    "InvalidBackendServer",
    "InvalidServerIp.NotFound",
    "InvalidAclId.NotExist",
    "ListenerAlreadyExists",
    "RspoolVipExist",
    "AclInUsed",
    "ResourceNotFound.",
    "ResourceAlreadyExist.",
    "ResourceInUse.",
)
# CLB has no code of its own for a vServer group that is gone; the text is the API reference's.
_UNCODED = {"The specified VServerGroupId does not exist": "InvalidVServerGroupId.NotFound"}
# terwayd has its key from eni_conf; a person's command from the environment.
_WHERE = "access_secret in eni_conf, or ALIBABA_CLOUD_ACCESS_KEY_SECRET in the environment"
_FORBIDDEN = ("NoPermission", "Forbidden")  # by a RAM policy
# What a person has to do, for the refusals that people meet.
_REMEDIES = (
    (
        "InvalidAccessKeyId",
        "check the key: access_key in eni_conf, ALIBABA_CLOUD_ACCESS_KEY_ID, or the RAM role",
    ),
    ("SignatureDoesNotMatch", f"check the key's secret: {_WHERE}"),
    ("IncompleteSignature", f"check the key's id and its secret: {_WHERE}"),
    ("InvalidTimeStamp", "set this machine's clock"),
    (
        "InvalidOperation.InstanceTypeNotSupport",
        "take instances of a type that has EniTrunkSupported, or set enable_eni_trunking to false",
    ),
    (
        "InvalidOperation.AvailabilityZoneMismatch",
        "take a vSwitch in the zone of the instance",
    ),
    (
        "InvalidVSwitchId.NotFound",
        "check vswitches in eni_conf, or vSwitchOptions of the pod's own network",
    ),
    (
        "InvalidSecurityGroupId.NotFound",
        "check security_groups in eni_conf, or securityGroupIDs of the pod's own network",
    ),
)


def translate(*, action: str, status: int, code: str, message: str, request_id: str) -> VpcError:
    """Return the error that the cloud's refusal of `action` means; the caller raises it."""
    code = next((known for text, known in _UNCODED.items() if message.startswith(text)), code)
    said = f"{action}: the cloud answered {status} {code}: {message} (RequestId {request_id})"
    if code.startswith(_THROTTLED) or status == 429:
        return ThrottledError(said, code=code)
    if code.startswith(_CAPACITY):
        return CapacityError(said, retry_after_s=CAPACITY_RETRY_AFTER_S, code=code)
    if code.startswith(_CONFLICT):
        return ConflictError(said, code=code)
    if code.startswith(_TRANSIENT) or status >= 500:
        return TransientError(said, code=code)
    return UsageError(said + _remedy(code, action), code=code)


def _remedy(code: str, action: str) -> str:
    if code.startswith(_FORBIDDEN):
        named = [one for one in CONTROL_PLANE if one.endswith(f":{action}")]
        return (
            f"; grant this action, {' or '.join(named) or action}, to the RAM role or user whose "
            "keys are used: policies with all that is called are deploy/ram-controlplane.json, and "
            "deploy/ram-agent.json for nodes with pools of their own"
        )
    found = next((remedy for prefix, remedy in _REMEDIES if code.startswith(prefix)), "")
    return f"; {found}" if found else ""


def without_remedy(error: VpcError) -> str:
    """Return what the cloud said, without our advice: for who can give better."""
    action = str(error).partition(":")[0]
    return str(error).removesuffix(_remedy(error.code, action))
