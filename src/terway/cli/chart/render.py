"""What does the chart make of a values file? ``python -m deploy.render [-f VALUES] [--set k=v]``.

What `helm template` would write, without Helm: `make manifests` uses it, and the tests, which hold
the result against an API server.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from terway.cli.chart.gotemplate.evaluate import Templates
from terway.cli.chart.gotemplate.tokens import TemplateError

CHART = Path(__file__).parent / "chart" / "terway"
NAMESPACE = "kube-system"


def render(values: Mapping[str, Any], *, chart: Path = CHART) -> str:
    """Return the manifests of a release, one text. TemplateError says which template cannot."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    defaults = yaml.safe_load((chart / "values.yaml").read_text())
    templates = {path.name: path.read_text() for path in sorted((chart / "templates").iterdir())}
    context = {
        "Values": overlaid(defaults, values),
        "Chart": {
            "Name": about["name"],
            "Version": about["version"],
            "AppVersion": about["appVersion"],
        },
        "Release": {"Name": "terway", "Namespace": NAMESPACE, "Service": "Helm", "IsInstall": True},
    }
    return "".join(_documents(Templates(templates), templates, context))


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with `above` over it, as Helm lays values: maps merge, the rest is replaced.

    None takes a key away.
    """
    both = {**below, **above}
    for name, value in above.items():
        if value is None:
            both.pop(name)
        elif isinstance(value, Mapping) and isinstance(below.get(name), Mapping):
            both[name] = overlaid(below[name], value)
    return both


def _documents(
    templates: Templates, names: Sequence[str] | Mapping[str, str], context: Mapping[str, Any]
) -> Iterator[str]:
    for name in names:
        if name.startswith("_") or not name.endswith(".yaml"):
            continue
        text = templates.render(name, context).strip()
        if text:
            yield f"---\n# Source: terway/templates/{name}\n{text.removeprefix('---').lstrip()}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the manifests to stdout."""
    parser = argparse.ArgumentParser(prog="python -m deploy.render", description=__doc__)
    parser.add_argument("-f", "--values", type=Path, action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=YAML")
    args = parser.parse_args(argv)
    values: dict[str, Any] = {}
    for path in args.values:
        values = overlaid(values, yaml.safe_load(path.read_text()) or {})
    for one in args.set:
        name, _, text = one.partition("=")
        value: Any = yaml.safe_load(text)
        for part in reversed(name.split(".")):
            value = {part: value}
        values = overlaid(values, value)
    try:
        sys.stdout.write(render(values))
    except TemplateError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
