"""Which limits do instance types have? The cloud says; without it, a table that was published."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib.resources import files

from terway.cli.account import open_account
from terway.cli.place import find_place
from terway.model.eni import InstanceLimits
from terway.model.errors import VpcError

TABLE = "instance_types.tsv"
OF_THE_TABLE = "the published table that came with this program"


def read_table() -> dict[str, InstanceLimits]:
    """Return the types of the table whose addresses were published; unknown numbers are 0."""
    text = files("terway.capacity").joinpath(TABLE).read_text()
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    rows = csv.DictReader(lines, delimiter="\t")
    known = (row for row in rows if row["eni_private_ip_address_quantity"])
    return {row["instance_type"]: _limits(row) for row in known}


def _limits(row: Mapping[str, str]) -> InstanceLimits:
    return InstanceLimits(
        instance_type=row["instance_type"],
        eni_quantity=int(row["eni_quantity"]),
        eni_private_ip_address_quantity=int(row["eni_private_ip_address_quantity"]),
        eni_ipv6_address_quantity=int(row["eni_ipv6_address_quantity"] or 0),
        eni_trunk_supported=row["eni_trunk_supported"] == "true",
        eni_total_quantity=int(row["eni_total_quantity"] or 0),
    )


async def ask_cloud(types: Sequence[str], region_id: str) -> dict[str, InstanceLimits]:
    """Return the limits of `types` from DescribeInstanceTypes. Raises VpcError."""
    async with open_account(find_place(node_name="-"), region_id) as account:
        found = await account.ecs.describe_instance_types(types)
    return {one.instance_type: one for one in found}


async def find_limits(
    types: Sequence[str], *, region_id: str, offline: bool
) -> tuple[dict[str, InstanceLimits], str]:
    """Return the limits of `types`, and where they are from. Unknown types are left out."""
    if offline:
        why = OF_THE_TABLE
    else:
        try:
            return await ask_cloud(types, region_id), "DescribeInstanceTypes"
        except (VpcError, OSError) as error:
            why = f"{OF_THE_TABLE}; the cloud does not answer: {error}"
    table = read_table()
    return {name: table[name] for name in types if name in table}, why
