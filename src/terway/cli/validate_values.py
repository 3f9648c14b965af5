"""Is a values file right, for this cloud and this cluster, before anything is changed?

values ──schema──► rules of several values ──► rendered: eni_conf, plugin, as terwayd reads them
          cloud, cluster, instance types ──► rules of what is there
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from terway.cli.account import open_account, own_keys
from terway.cli.catalogue import read_table
from terway.cli.chart import values as v
from terway.cli.chart.facts import TYPE_LABEL, Facts, read_cloud_facts, read_nodes
from terway.cli.chart.render import check_values, read_values, render
from terway.cli.chart.rules import check_surroundings, check_together
from terway.cli.place import Place
from terway.cli.read_kube import open_client
from terway.config.agent_config import read_agent_config_into
from terway.config.declare import Values
from terway.config.findings import Report
from terway.config.keys_map import FILES
from terway.config.schema import CONFIG_MAP


async def check_installation(
    files: Sequence[Path],
    settings: Sequence[str],
    types: Sequence[str],
    *,
    chart: Path,
    place: Place,
    environ: Mapping[str, str],
) -> tuple[Report, tuple[str, ...]]:
    """Return what was found, and who was not asked. Raises VpcError of whom it asks."""
    report = Report()
    values = read_values(files, settings, chart=chart)
    said = check_values(values, report)
    if report.refusals:
        return report, ("what is around them, as long as the schema is not met",)
    check_together(said, report)
    if not report.refusals:
        check_rendered(values, chart, report)
    facts, unasked = await _facts(said, types, place, environ)
    check_surroundings(said, facts, report)
    return report, unasked


def check_rendered(values: Mapping[str, Any], chart: Path, report: Report) -> None:
    """Put into `report` what terwayd would say of the configuration that the chart makes."""
    objects = yaml.safe_load_all(render(values, chart=chart))
    data = next(
        one["data"]
        for one in objects
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == CONFIG_MAP
    )
    read_agent_config_into(report, {name: data[name] for name in FILES if name in data})


async def _facts(
    said: Values, types: Sequence[str], place: Place, environ: Mapping[str, str]
) -> tuple[Facts, tuple[str, ...]]:
    facts, unasked = Facts(), []
    if place.kubeconfig is not None:
        async with open_client(place) as client:
            facts = replace(facts, nodes=await read_nodes(client))
    else:
        unasked.append("the cluster: give --kubeconfig")
    wanted = dict.fromkeys((*types, *(one.instance_type for one in facts.nodes or ())))
    names = [one for one in wanted if one]
    region = said[v.REGION_ID]
    if own_keys(environ) is None:
        table = read_table()
        unasked.append("the cloud: set ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET")
        types_known = {one: table[one] for one in names if one in table}
        facts = replace(facts, types=types_known, knows_trunks=False)
        return facts, (*unasked, *_unknown(names, table))
    async with open_account(place, region, environ=environ) as account:
        facts = replace(facts, cloud=await read_cloud_facts(said, account))
        # Of no names, the cloud would describe every type that it has.
        found = await account.ecs.describe_instance_types(names) if names else ()
    limits = {one.instance_type: one for one in found}
    return replace(facts, types=limits), (*unasked, *_unknown(names, limits))


def _unknown(names: Sequence[str], known: Iterable[str]) -> Iterable[str]:
    if not names:
        yield (
            "types of nodes, how many pods they hold, whether they have trunk ENIs: give "
            f"--instance-type, or --kubeconfig of a cluster whose nodes have the label {TYPE_LABEL}"
        )
    for one in names:
        if one not in known:
            yield f"what {one} holds: nobody knows that type"
