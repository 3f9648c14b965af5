"""terway-cli metadata: what does the metadata service say of this instance and its ENIs?"""

from __future__ import annotations

from collections.abc import Iterator

import click

from terway.cli.collect import Wanted
from terway.cli.snapshot import InstanceView, require
from terway.cli.source import source_options, take_snapshot
from terway.cli.table import print_json, print_lines, wrapped


@click.command("metadata")
@source_options
def command(bundle: str, as_json: bool, **where: str) -> None:
    """Show what the metadata service says: instance, VPC, ENIs and their addresses.

    Exit code 3 when it does not answer.
    """
    snapshot = take_snapshot(bundle, Wanted(sources={"instance"}), **where)
    instance = require(snapshot.instance, snapshot, "instance")
    if as_json:
        print_json(instance)
    else:
        print_lines(metadata_lines(instance))


def metadata_lines(instance: InstanceView) -> Iterator[str]:
    """Yield the instance, then a paragraph for each ENI."""
    yield f"instance  {instance.instance_id}  {instance.instance_type}"
    yield f"place     {instance.region_id}  {instance.zone_id}"
    yield f"VPC       {instance.vpc_id}  {instance.vpc_cidr}"
    for eni in instance.enis:
        yield ""
        primary = "  (the primary vSwitch)" if eni.vswitch_id == instance.vswitch_id else ""
        yield f"{eni.id}  {eni.mac}"
        yield f"  vSwitch    {eni.vswitch_id}{primary}"
        yield from wrapped(f"  ranges     {eni.cidr}")
        yield from wrapped(f"  gateways   {' '.join(map(str, eni.gateways))}")
        for index, address in enumerate(eni.addresses):
            yield f"  {'addresses' if not index else '':<9}  {address}"
