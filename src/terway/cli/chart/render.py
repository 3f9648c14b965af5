"""What does the chart make of values? What `helm template` would write, without Helm.

`make manifests` uses it, and `terway-cli validate`; tests hold the result against an API server.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from terway.cli.chart.gotemplate.evaluate import Templates
from terway.cli.chart.gotemplate.tokens import TemplateError
from terway.cli.chart.settings import overlaid, with_settings
from terway.cli.chart.values import KEYS
from terway.config.declare import Values, read_object
from terway.config.findings import Report
from terway.model.errors import UsageError, VpcError

NAMESPACE = "kube-system"
PATH = "values"  # of what findings are about
_SEPARATOR = re.compile(r"^---\n", re.M)
_KIND = re.compile(r"^kind: (\w+)$", re.M)
# Of the kinds that are here; source: Helm, pkg/releaseutil/kind_sorter.go.
_ORDER = (
    "PodDisruptionBudget",
    "ServiceAccount",
    "ConfigMap",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Deployment",
)


def find_chart() -> Path:
    """Return the chart's folder: in the wheel, or beside the sources. UsageError without one."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "terway", here.parents[4] / "deploy" / "chart" / "terway"):
        if (folder / "Chart.yaml").is_file():
            return folder
    raise UsageError("the chart is not here: name its folder", field="--chart")


def read_values(files: Sequence[Path], settings: Sequence[str], *, chart: Path) -> dict[str, Any]:
    """Return the values of a release: the chart's, the files' over them, the settings' over all.

    A setting is NAME=VALUE, as `with_settings` has it. Raises UsageError for what is not YAML.
    """
    layers = [_read(path) for path in (chart / "values.yaml", *files)]
    return with_settings(reduce(overlaid, layers), settings)


def check_values(values: Mapping[str, Any], report: Report) -> Values:
    """Put into `report` what the chart does not take; return what it understands."""
    return read_object(KEYS, values, PATH, report)


def render(values: Mapping[str, Any], *, chart: Path) -> str:
    """Return the manifests of a release, one text. `values` are whole, as `read_values` has them.

    Raises ConfigError for values that the schema does not have, UsageError where a template
    refuses them.
    """
    report = Report()
    check_values(values, report)
    report.raise_refusals()
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    templates = {path.name: path.read_text() for path in sorted((chart / "templates").iterdir())}
    context = {
        "Values": dict(values),
        "Chart": {
            "Name": about["name"],
            "Version": about["version"],
            "AppVersion": about["appVersion"],
        },
        "Release": {"Name": "terway", "Namespace": NAMESPACE, "Service": "Helm"},
    }
    try:
        return "".join(_documents(Templates(templates), templates, context))
    except TemplateError as error:
        raise UsageError(str(error), field=PATH) from error


def _documents(
    templates: Templates, names: Mapping[str, str], context: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the objects, in Helm's order of kinds and then by file."""
    found: list[tuple[int, str]] = []
    for name in names:
        if name.startswith("_") or not name.endswith(".yaml"):
            continue
        for text in _SEPARATOR.split(templates.render(name, context)):
            if kind := _KIND.search(text):
                source = f"---\n# Source: terway/templates/{name}\n{text.strip()}\n"
                found.append((_ORDER.index(kind.group(1)), source))
    yield from (text for _, text in sorted(found, key=lambda one: one[0]))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{path} is not a values file: {said}", field=PATH) from error
    return _object(found, str(path))


def _object(found: object, where: str) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UsageError(f"{where} must be an object: keys with values", field=PATH)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Write the manifests to stdout."""
    parser = argparse.ArgumentParser(prog="python -m deploy.render", description=__doc__)
    parser.add_argument("-f", "--values", type=Path, action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=YAML")
    args = parser.parse_args(argv)
    chart = find_chart()
    try:
        sys.stdout.write(render(read_values(args.values, args.set, chart=chart), chart=chart))
    except VpcError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
