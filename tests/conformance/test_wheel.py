"""The wheel: built from the sources, it holds everything that a node needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_plugin_and_the_bpf_objects(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert "terway/cni/bin/terway" in names
    for source in (ROOT / "bpf").glob("*.bpf.c"):
        assert f"terway/bpf_objects/{source.name.replace('.bpf.c', '.bpf.o')}" in names


def test_the_wheel_says_which_platform_its_binaries_are_for(wheel):
    assert not wheel.name.endswith("-any.whl")


def test_the_installed_plugin_runs_and_tells_its_versions(wheel, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--target", str(tmp_path), str(wheel)],
        check=True,
    )  # fmt: skip
    plugin = tmp_path / "terway" / "cni" / "bin" / "terway"

    answer = subprocess.run(
        [plugin],
        input=b'{"cniVersion":"1.1.0"}',
        env={"CNI_COMMAND": "VERSION", "TERWAY_CNI_SOCKET": str(tmp_path / "nobody.socket")},
        capture_output=True,
        check=True,
    )

    assert os.access(plugin, os.X_OK)
    assert b'"1.1.0"' in answer.stdout
