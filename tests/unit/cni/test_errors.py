"""Which code a runtime sees for which error of ours."""

from __future__ import annotations

import json

import pytest

from terway.cni.errors import CniError, Code, code_of, error_reply
from terway.model.errors import (
    BugError,
    CapacityError,
    ConflictError,
    ThrottledError,
    TransientError,
    UsageError,
)

CODES = [
    (CniError(Code.INVALID_NETNS, "x"), 8),
    (UsageError("x"), 7),
    (CapacityError("x"), 11),
    (TransientError("x"), 11),
    (ThrottledError("x"), 11),
    (ConflictError("x"), 100),  # must not leave a loop: if it does, that is a defect
    (BugError("x"), 100),
]


@pytest.mark.parametrize(("error", "code"), CODES)
def test_each_class_has_its_code(error, code):
    assert code_of(error) == code


def test_details_are_the_errors_own_or_the_foreign_code():
    own = error_reply(CniError(Code.INVALID_CONFIG, "m", details="d"), "1.0.0")
    foreign = error_reply(TransientError("m", code="ENODEV"), "1.0.0")

    assert json.loads(own.body) == {"cniVersion": "1.0.0", "code": 7, "msg": "m", "details": "d"}
    assert json.loads(foreign.body)["details"] == "ENODEV"
