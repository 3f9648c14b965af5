"""Which versions of the CNI specification are spoken, and what each verb needs."""

from __future__ import annotations

from enum import Enum

from terway.cni.errors import CniError, Code

SUPPORTED = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
LATEST = SUPPORTED[-1]


class Verb(Enum):
    """What CNI_COMMAND asks for."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"
    VERSION = "VERSION"


# The version that brought the verb (SPEC.md, "CNI operations").
_SINCE = {Verb.CHECK: "0.4.0", Verb.GC: "1.1.0", Verb.STATUS: "1.1.0"}


def is_at_least(version: str, floor: str) -> bool:
    """Return whether the supported `version` is `floor` or newer."""
    return SUPPORTED.index(version) >= SUPPORTED.index(floor)


def require_version(version: str, verb: Verb) -> None:
    """Raise CniError with code 1 unless `version` is supported and knows `verb`."""
    if version not in SUPPORTED:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"cniVersion {version!r} is not supported",
            details=f"use one of {', '.join(SUPPORTED)}",
        )
    floor = _SINCE.get(verb, SUPPORTED[0])
    if not is_at_least(version, floor):
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"{verb.value} is not part of CNI {version}",
            details=f"it needs cniVersion {floor} or newer",
        )
