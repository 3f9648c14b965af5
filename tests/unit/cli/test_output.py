"""An output that takes no more ends a command in a line, or in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from terway.cli.exits import USAGE

_CLI = (sys.executable, "-m", "terway.cli")
_MANIFEST = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}}'


@pytest.mark.parametrize("words", [("--help",), ("policy", "matrix", "-f", "FILE")])
def test_a_full_disk_is_a_line_and_wrong_use(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(_MANIFEST)
    asked = [str(file) if word == "FILE" else word for word in words]

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*_CLI, *asked], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == USAGE
    assert done.stderr.splitlines()[-1] == (
        "terway-cli: the output cannot be written: No space left on device"
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen([*_CLI, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()

        assert run.stderr.read() == b""
