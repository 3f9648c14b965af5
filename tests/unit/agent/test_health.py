"""Health says what a new process would cure, readiness what it would not; both with reasons."""

from __future__ import annotations

import json

import pytest

from terway.agent.health import LATE_S, STILL_S, Health
from terway.cni.errors import CniError, Code


class Scene:
    def __init__(self, folder):
        self.now, self.cpu, self.beat, self.is_serving = 1000.0, 0.0, 1000.0, True
        self.error = None
        self.health = Health(
            state_dir=folder,
            beat_at=lambda: self.beat,
            serves=lambda: self.is_serving,
            could_add=self.could_add,
            now=lambda: self.now,
            cpu=lambda: self.cpu,
        )

    def could_add(self):
        if self.error is not None:
            raise self.error

    def live(self):
        return said(self.health.live())

    def ready(self):
        return said(self.health.ready())


def said(page):
    return page.status.value, json.loads(page.body)["checks"]


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_all_is_well_at_first(scene, tmp_path):
    assert scene.live() == (200, {"loop": "ok", "reconcile": "ok", "journal": "ok"})
    assert scene.ready() == (200, {"serving": "ok", "pool": "ok", "journal": "ok"})
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_is_busy_with_itself_is_not_alive(scene):
    scene.now += 3 * LATE_S
    scene.cpu += 3 * LATE_S

    status, checks = scene.live()

    assert status == 503
    assert "25 s late and has used 30 s of CPU" in checks["loop"]


def test_a_machine_without_time_to_spare_does_not_kill_the_agent(scene):
    """Bug class 25: probes that time out under CPU load kill the agent."""
    scene.now += 10 * LATE_S
    scene.cpu += 0.5

    assert scene.live()[0] == 200


def test_a_reconciler_that_stands_still_is_not_alive(scene):
    """Bug class 56: deadlocks."""
    scene.now += STILL_S + 1
    scene.health.tick()

    status, checks = scene.live()

    assert status == 503
    assert "not been looked at for 601 s" in checks["reconcile"]


def test_a_process_that_was_stopped_as_a_whole_is_alive_when_it_goes_on(scene):
    scene.now += 2 * STILL_S

    assert scene.live()[0] == 200


def test_a_journal_that_cannot_be_written_is_neither_alive_nor_ready(scene, tmp_path):
    tmp_path.rmdir()

    for status, checks in (scene.live(), scene.ready()):
        assert status == 503
        assert "cannot be written: No such file or directory" in checks["journal"]


def test_it_is_not_ready_before_it_serves_and_when_no_address_is_to_be_had(scene):
    scene.is_serving = False
    assert scene.ready()[1]["serving"] == "not serving (yet)"

    scene.is_serving = True
    scene.error = CniError(Code.NOT_AVAILABLE, "no address for a pod: the vSwitch is full")

    assert scene.ready() == (
        503,
        {"serving": "ok", "pool": "no address for a pod: the vSwitch is full", "journal": "ok"},
    )
    assert scene.live()[0] == 200
