"""`degradation` is followed while the process runs, and nothing else is."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from terway.config.keys_controlplane import DegradationLevel
from terway.controlplane.config import parse_config
from terway.controlplane.reload import FollowedConfig

TEXT = "clusterID: c1\nvpcID: vpc-1\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ctrl-config.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def followed(file):
    return FollowedConfig(file, TEXT, parse_config(TEXT)[0])


def test_another_level_holds_from_the_next_look_on(file, followed):
    file.write_text(TEXT + "degradation: l0\n")
    assert followed.degradation() is DegradationLevel.NONE

    followed.look()

    assert followed.degradation() is DegradationLevel.L0
    file.write_text(TEXT)
    followed.look()
    assert followed.degradation() is DegradationLevel.NONE


@pytest.mark.parametrize("text", ["degradation: l7\n", TEXT + "degradation: l7\n", "{"])
def test_a_file_that_cannot_be_followed_changes_nothing_and_is_said_once(file, followed, text):
    file.write_text(TEXT + "degradation: l1\n")
    followed.look()
    file.write_text(text)

    with capture_logs() as lines:
        followed.look()
        followed.look()

    assert followed.degradation() is DegradationLevel.L1
    assert [line["event"] for line in lines] == ["config.refused"]


def test_a_file_that_is_away_for_a_moment_changes_nothing(file, followed):
    file.unlink()

    followed.look()

    assert followed.degradation() is DegradationLevel.NONE


def test_what_needs_a_restart_is_said(file, followed):
    file.write_text(TEXT + "eniMaxConcurrent: 5\n")

    with capture_logs() as lines:
        followed.look()

    assert [line["event"] for line in lines] == ["config.changed"]
