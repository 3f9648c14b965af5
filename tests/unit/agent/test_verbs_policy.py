"""An ADD does not answer before policy is in force for its pod, and leaves nothing if it is not."""

from __future__ import annotations

import json

import pytest

from terway.model.attachment import Attachment
from terway.model.errors import TransientError
from tests.support.cni import Node


class Gate:
    """Admits, or does not, and remembers who is here."""

    def __init__(self, *, is_free: bool = False, refusal: str = "") -> None:
        self.here: list[Attachment] = []
        self.admitted = 0
        self._is_free = is_free
        self._refusal = refusal

    def is_free(self, attachments, pod):
        self.here += attachments
        return self._is_free

    async def admit(self, attachments, pod):
        self.admitted += 1
        if self._refusal:
            raise TransientError(self._refusal, code="PolicyNotInForce")

    def leave(self, attachment):
        self.here.remove(attachment)


@pytest.mark.parametrize("is_free", [True, False])
async def test_an_ADD_waits_only_for_pods_that_are_not_free(tmp_path, is_free):
    gate = Gate(is_free=is_free)
    node = Node(tmp_path, gate=gate)
    async with node.terwayd():
        ran = await node.run("ADD")

        assert ran.exit_code == 0, ran.stdout
        assert gate.admitted == (not is_free)
        assert gate.here == [*node.pool.attachments()]
        assert (await node.run("DEL")).exit_code == 0
        assert gate.here == []


async def test_an_ADD_that_policy_does_not_let_pass_says_try_again_and_leaves_nothing(tmp_path):
    """Bug class 45: an open window, or half an attachment."""
    gate = Gate(refusal="the API server has not told of all policies yet")
    node = Node(tmp_path, gate=gate)
    async with node.terwayd():
        ran = await node.run("ADD")

    answer = json.loads(ran.stdout)
    assert answer["code"] == 11
    assert "not told of all policies" in answer["msg"] + answer.get("details", "")
    assert node.pool.attachments() == ()
    assert gate.here == []
