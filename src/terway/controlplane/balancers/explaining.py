"""What the cloud refuses of a load balancer: who wrote it, and where is it to be corrected?

The cloud names its own parameters and codes. Who reads the event of a Service has written
annotations, or nothing, where eni-config says it for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from terway.cloud.errors import without_remedy
from terway.loadbalancer.said import PREFIXES, Said
from terway.model.balancer import BalancerProduct
from terway.model.errors import CapacityError, ConflictError, UsageError, VpcError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meant:
    """What refusals with `mark` in their code are about, and what is used without annotation."""

    mark: str  # in small letters
    name: str
    default: str = ""
    product: BalancerProduct


_VSWITCHES = "the vSwitches of eni-config"
_MEANT = (
    _Meant(mark="vswitch", product=BalancerProduct.CLB, name="vswitch-id", default=_VSWITCHES),
    _Meant(mark="vswitch", product=BalancerProduct.NLB, name="zone-maps", default=_VSWITCHES),
    _Meant(mark="zone", product=BalancerProduct.NLB, name="zone-maps", default=_VSWITCHES),
    _Meant(mark="securitygroup", product=BalancerProduct.NLB, name="security-group-ids"),
    _Meant(mark="acl", product=BalancerProduct.CLB, name="acl-id"),
    _Meant(mark="certificate", product=BalancerProduct.CLB, name="cert-id"),
)


def explain(error: VpcError, annotations: Mapping[str, str], product: BalancerProduct) -> VpcError:
    """Return the refusal in words of the Service; as it is, where it is not about such."""
    if not isinstance(error, CapacityError | ConflictError | UsageError):
        return error
    code = error.code.lower()
    meant = next((one for one in _MEANT if one.product is product and one.mark in code), None)
    text = None if meant is None else _text(meant, Said(annotations), without_remedy(error))
    if text is None:
        return error
    if isinstance(error, CapacityError):
        return CapacityError(text, retry_after_s=error.retry_after_s, code=error.code)
    return UsageError(text, code=error.code)


def _text(meant: _Meant, said: Said, cloud: str) -> str | None:
    written = said.written(meant.name)
    if written is None:
        if not meant.default:
            return None
        remedy = f"correct them, or name others by the annotation {PREFIXES[0]}{meant.name}"
        return f"{meant.default} are refused by the cloud: {remedy} ({cloud})"
    key, value = written
    words = [one for one in re.split(r"[,:\s]+", value) if one]
    named = [one for one in words if re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", cloud)]
    what = f" ({', '.join(named)})" if named and named != words else ""
    remedy = f"correct it, or take it out{meant.default and f' for {meant.default}'}"
    return f"annotation {key}: {value!r}{what} is refused by the cloud: {remedy} ({cloud})"
