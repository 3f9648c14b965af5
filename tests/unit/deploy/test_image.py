"""Is everything in the wheel that the image's programs need? The image holds nothing else."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from terway import __version__
from terway.cli.chart.render import find_chart
from terway.controlplane.install import read_definitions

ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "deploy" / "manifests" / "shared.yaml"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder of an installed wheel, built as the Dockerfile builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_plugin_programs_and_resources_are_inside(installed):
    package = installed / "terway"

    assert (package / "cni" / "bin" / "terway").read_bytes()[:4] == b"\x7fELF"
    objects = {path.name for path in (package / "bpf_objects").glob("*.o")}
    assert objects == {f"{path.name[:-6]}.bpf.o" for path in (ROOT / "bpf").glob("*.bpf.c")}
    kept = list((package / "controlplane" / "crds").glob("*.yaml"))
    assert len(kept) == len(read_definitions())


@pytest.mark.parametrize(
    "module",
    ["terway.agent.main", "terway.controlplane.main", "terway.cli", "terway.lab.cli"],
)
def test_every_program_says_the_version_that_the_chart_installs(module):
    asked = [sys.executable, "-m", module, "--version"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout

    chart = yaml.safe_load((find_chart() / "Chart.yaml").read_text())
    assert said.split()[-1] == chart["appVersion"] == chart["version"] == __version__


def test_the_chart_is_inside_whole(installed):
    chart = installed / "terway" / "cli" / "chart" / "terway"

    for path in find_chart().rglob("*"):
        if path.is_file():
            assert (chart / path.relative_to(find_chart())).read_bytes() == path.read_bytes()


def test_values_are_checked_from_a_wheel_alone(installed):
    words = ["-m", "terway.cli", "validate", "--set", "clusterID=c", "--set", "vpcID=vpc-1"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)}

    ran = subprocess.run(
        [sys.executable, *words, "--json"], env=environ, cwd="/", capture_output=True, check=True
    )

    assert b'"refusals": []' in ran.stdout


def test_every_command_of_the_chart_is_a_program_of_the_wheel(installed):
    (about,) = installed.glob("*.dist-info")
    entries = configparser.ConfigParser()
    entries.read(about / "entry_points.txt")
    programs = set(entries["console_scripts"])

    assert commands(yaml.safe_load_all(MANIFEST.read_text())) <= programs


def commands(value: object) -> set[str]:
    """Return the first word of each command in some objects."""
    if isinstance(value, dict):
        own = {value["command"][0]} if isinstance(value.get("command"), list) else set()
        return own.union(*map(commands, value.values()))
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return set()
    return set[str]().union(*map(commands, value))
