"""terway-cli validate: is a configuration right, before it is used?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import click
import yaml

from terway.cli.chart.render import find_chart
from terway.cli.exits import FOUND, OK
from terway.cli.place import Place, place_of
from terway.cli.table import print_json, print_lines, wrapped
from terway.cli.validate_values import check_installation
from terway.config.agent_config import FILES, read_agent_config_into
from terway.config.findings import Caution, Refusal, Report
from terway.config.keys_map import CONF, DISABLE_NETWORK_POLICY, ENI_CONF
from terway.config.schema import DOCUMENTS, schema_of
from terway.model.errors import UsageError

_PATH = click.Path(exists=True, path_type=Path)
# An eni_conf alone is checked as it would be with the plugin's own defaults, and asked for nothing
# that it could not say.
_BESIDE = {CONF: '{"type":"terway"}', DISABLE_NETWORK_POLICY.name: "true"}


@click.command("validate")
@click.argument("path", required=False, type=_PATH)
@click.option("--patch", type=_PATH, help="The node's own part: its eni_conf, or its ConfigMap.")
@click.option("--strict", is_flag=True, help="Cautions count as findings, too.")
@click.option("--values", type=_PATH, multiple=True, help="A values file of the chart; repeatable.")
@click.option("--set", "settings", multiple=True, help="NAME=VALUE over it; repeatable.")
@click.option("--chart", type=_PATH, help="The chart's folder; the one that came along by default.")
@click.option("--instance-type", "types", multiple=True, help="Of nodes to come; repeatable.")
@click.option("--kubeconfig", default="", help="A cluster to hold values against; or KUBECONFIG.")
@click.option("--schema", type=click.Choice(DOCUMENTS), help="Print a JSON schema, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(
    *,
    path: Path | None,
    patch: Path | None,
    values: tuple[Path, ...],
    settings: tuple[str, ...],
    chart: Path | None,
    types: tuple[str, ...],
    kubeconfig: str,
    strict: bool,
    schema: str | None,
    as_json: bool,
) -> None:
    """Check a configuration; say everything that is wrong with it, and where.

    PATH is a folder with the files of eni-config (as /etc/eni, the default), a manifest of the
    ConfigMap, or an eni_conf alone. Nothing else is asked: not the cloud, not the cluster.

    With --values or --set, what the chart would be installed with is checked instead: its schema,
    the configuration made of it, and, with a key in ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET and
    with a kubeconfig, whether it goes with the cloud and the cluster. Nothing is changed.
    Exit code 0: right; 1: something is not; 2: it cannot be read; 3: who was asked is away.
    """
    if schema is not None:
        print_json(schema_of(schema))
        return
    report, unasked = Report(), tuple[str, ...]()
    if values or settings:
        report, unasked = asyncio.run(
            check_installation(
                values,
                settings,
                types,
                chart=chart or find_chart(),
                place=_place_of_cluster(kubeconfig),
                environ=os.environ,
            )
        )
    else:
        files = read_config_files(path or _default_folder())
        read_agent_config_into(report, files, patch=_patch_of(patch) if patch else None)
    _show(report, unasked, as_json=as_json)
    is_wrong = report.refusals or (strict and report.cautions)
    raise SystemExit(FOUND if is_wrong else OK)


def _place_of_cluster(kubeconfig: str) -> Place:
    """Return where a person's cluster and cloud are: nothing that this machine is a node of."""
    said = kubeconfig or os.environ.get("KUBECONFIG", "")
    place = place_of(os.environ, root=Path("/"), node_name="-")
    return replace(place, kubeconfig=Path(said) if said else None)


def _default_folder() -> Path:
    place: Place = place_of({}, root=Path("/"), node_name="-")
    if not place.config.exists():
        text = f"{place.config} is not there: name a folder, a ConfigMap or an eni_conf"
        raise UsageError(text, field="PATH")
    return place.config.parent


def read_config_files(path: Path) -> dict[str, str]:
    """Return the keys of eni-config in a folder, a manifest or a file. Raises UsageError."""
    if path.is_dir():
        return {name: _read(path / name) for name in FILES if (path / name).is_file()}
    text = _read(path)
    data = _config_map_data(text, path, field="PATH")
    return data if data is not None else {ENI_CONF: text, **_BESIDE}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        text = f"{path} is not text in UTF-8: byte {error.start} is {error.object[error.start]:#x}"
        raise UsageError(text, field="PATH") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", field="PATH") from error


def _patch_of(path: Path) -> str:
    text = _read(path)
    data = _config_map_data(text, path, field="--patch")
    if data is None:
        return text
    if ENI_CONF not in data:
        raise UsageError(
            f"{path} has no {ENI_CONF}: a node's own part is that key", field="--patch"
        )
    return data[ENI_CONF]


def _config_map_data(text: str, path: Path, *, field: str) -> dict[str, str] | None:
    """Return the data of the ConfigMap in a manifest; None when `text` may be an eni_conf.

    The first with an eni_conf, else the first. Raises UsageError when it is something else.
    """
    try:
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        if text.lstrip().startswith("{"):
            return None  # JSON that is broken is told about with line and column
        raise UsageError(f"{path} is neither JSON nor YAML: {error}", field=field) from error
    objects = [one for one in documents if isinstance(one, Mapping)]
    found = [one.get("data") for one in objects if one.get("kind") == "ConfigMap"]
    maps = [one if isinstance(one, Mapping) else {} for one in found]
    if maps:
        data = next((one for one in maps if ENI_CONF in one), maps[0])
        return {key: str(value) for key, value in data.items()}
    kinds = [str(one["kind"]) for one in objects if "kind" in one]
    if kinds or not text.lstrip().startswith("{"):
        held = f"it holds {', '.join(kinds[:5])}" if kinds else "it is not a JSON object either"
        raise UsageError(f"{path} is not a ConfigMap eni-config: {held}", field=field)
    return None


def _show(report: Report, unasked: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        found = {
            "refusals": [_fields_of(one) for one in report.refusals],
            "cautions": [_fields_of(one) for one in report.cautions],
        }
        print_json({**found, "not_asked": unasked} if unasked else found)
        return
    print_lines(_lines(report, unasked))


def _fields_of(finding: Refusal | Caution) -> dict[str, str]:
    return {one.name: getattr(finding, one.name) for one in fields(finding)}


def _lines(report: Report, unasked: tuple[str, ...]) -> Iterable[str]:
    for refusal in report.refusals:
        yield from wrapped(f"x {refusal}")
    for caution in report.cautions:
        yield from wrapped(f"! {caution}")
    for one in unasked:
        yield from wrapped(f"? not asked: {one}")
    counts = f"{len(report.refusals)} to mend, {len(report.cautions)} to know"
    yield counts if report.refusals or report.cautions else "right"
