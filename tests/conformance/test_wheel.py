"""The wheel: built from the sources, it holds everything that a node needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (".py", ".pyc", ".c")


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


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return a folder with what pip makes of the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--target", str(folder), str(wheel)],
        check=True,
    )  # fmt: skip
    return folder


def run(installed, program, *words):
    """Run one of the installed programs; what it imports of ours is what was installed."""
    return subprocess.run(
        [installed / "bin" / program, *words],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_wheel_holds_the_plugin_and_the_bpf_objects(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert "terway/cni/bin/terway" in names
    for source in (ROOT / "bpf").glob("*.bpf.c"):
        assert f"terway/bpf_objects/{source.name.replace('.bpf.c', '.bpf.o')}" in names


def test_the_wheel_holds_every_table_that_a_module_reads(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    files = [one.relative_to(ROOT / "src") for one in (ROOT / "src").rglob("*") if one.is_file()]
    # Python writes to its caches by passing names while other tests run; tools' begin with a dot.
    kept = [one for one in files if not any(part[0] in "._" for part in one.parts[:-1])]
    data = {str(one) for one in kept if one.suffix not in SOURCES}

    assert data
    assert data <= set(names)


def test_the_wheel_says_which_platform_its_binaries_are_for(wheel):
    assert not wheel.name.endswith("-any.whl")


def test_the_installed_plugin_runs_and_tells_its_versions(installed, tmp_path):
    plugin = installed / "terway" / "cni" / "bin" / "terway"

    answer = subprocess.run(
        [plugin],
        input=b'{"cniVersion":"1.1.0"}',
        env={"CNI_COMMAND": "VERSION", "TERWAY_CNI_SOCKET": str(tmp_path / "nobody.socket")},
        capture_output=True,
        check=True,
    )

    assert os.access(plugin, os.X_OK)
    assert b'"1.1.0"' in answer.stdout


@pytest.mark.parametrize("program", ["terwayd", "terway-cli", "terway-lab"])
def test_every_installed_program_starts(installed, program):
    assert program in run(installed, program, "--help")


def test_the_installed_tool_knows_the_instance_types(installed):
    said = run(installed, "terway-cli", "capacity", "ecs.g7.xlarge", "--offline", "--json")

    assert "ecs.g7.xlarge" in json.dumps(json.loads(said))
