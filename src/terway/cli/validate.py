"""terway-cli validate: is a configuration right, before it is used?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import click
import yaml

from terway.cli.exits import FOUND, OK
from terway.cli.place import Place, place_of
from terway.cli.table import print_json, print_lines, wrapped
from terway.config.agent_config import FILES, read_agent_config_into
from terway.config.findings import Report
from terway.config.keys_map import ENI_CONF
from terway.config.schema import DOCUMENTS, schema_of
from terway.model.errors import UsageError

_PATH = click.Path(exists=True, path_type=Path)


@click.command("validate")
@click.argument("path", required=False, type=_PATH)
@click.option("--patch", type=_PATH, help="The node's own part: its eni_conf, or its ConfigMap.")
@click.option("--strict", is_flag=True, help="Cautions count as findings, too.")
@click.option("--schema", type=click.Choice(DOCUMENTS), help="Print a JSON schema, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(
    path: Path | None, patch: Path | None, strict: bool, schema: str | None, as_json: bool
) -> None:
    """Check a configuration; say everything that is wrong with it, and where.

    PATH is a folder with the files of eni-config (as /etc/eni, the default), a manifest of the
    ConfigMap, or an eni_conf alone. Nothing else is asked: not the cloud, not the cluster.
    Exit code 0: right; 1: something is not.
    """
    if schema is not None:
        print_json(schema_of(schema))
        return
    report = Report()
    files = read_config_files(path or _default_folder())
    read_agent_config_into(report, files, patch=_patch_of(patch) if patch else None)
    _show(report, as_json=as_json)
    is_wrong = report.refusals or (strict and report.cautions)
    raise SystemExit(FOUND if is_wrong else OK)


def _default_folder() -> Path:
    place: Place = place_of({}, root=Path("/"), node_name="-")
    if not place.config.exists():
        text = f"{place.config} is not there: name a folder, a ConfigMap or an eni_conf"
        raise UsageError(text, field="PATH")
    return place.config.parent


def read_config_files(path: Path) -> dict[str, str]:
    """Return the keys of eni-config in a folder, a manifest or a file. Raises UsageError."""
    if path.is_dir():
        return {name: (path / name).read_text() for name in FILES if (path / name).is_file()}
    text = path.read_text()
    data = _config_map_data(text, path)
    # An eni_conf alone is checked as it would be with the plugin's own defaults.
    return data if data is not None else {ENI_CONF: text, "10-terway.conf": '{"type":"terway"}'}


def _patch_of(path: Path) -> str:
    text = path.read_text()
    data = _config_map_data(text, path)
    if data is None:
        return text
    if ENI_CONF not in data:
        raise UsageError(
            f"{path} has no {ENI_CONF}: a node's own part is that key", field="--patch"
        )
    return data[ENI_CONF]


def _config_map_data(text: str, path: Path) -> dict[str, str] | None:
    """Return the data of the first ConfigMap in a manifest; None when `text` is none."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        if text.lstrip().startswith("{"):
            return None  # JSON that is broken is told about with line and column
        raise UsageError(f"{path} is neither JSON nor YAML: {error}", field="PATH") from error
    for one in documents:
        if isinstance(one, Mapping) and one.get("kind") == "ConfigMap":
            return {key: str(value) for key, value in (one.get("data") or {}).items()}
    return None


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        refusals = [
            {"field": one.field, "found": one.found, "rule": one.rule} for one in report.refusals
        ]
        print_json({"refusals": refusals, "cautions": report.cautions})
        return
    print_lines(_lines(report))


def _lines(report: Report) -> Iterable[str]:
    for refusal in report.refusals:
        yield from wrapped(f"x {refusal}")
    for caution in report.cautions:
        yield from wrapped(f"! {caution}")
    counts = f"{len(report.refusals)} to mend, {len(report.cautions)} to know"
    yield counts if report.refusals or report.cautions else "right"
