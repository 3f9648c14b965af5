"""Where does a command's snapshot come from: this node, or a bundle that somebody sent?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from terway.cli.bundle_file import SNAPSHOT_NAME, damaged, read_bundle_file
from terway.cli.codec import parse
from terway.cli.collect import Wanted, collect
from terway.cli.place import find_place, place_options
from terway.cli.snapshot import Snapshot
from terway.model.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def source_options(command: F) -> F:
    """Add to a command the options that say what it looks at, and --json."""
    command = click.option("--json", "as_json", is_flag=True, help="For programs.")(command)
    command = click.option("--bundle", default="", help="A support bundle, instead of this node.")(
        command
    )
    return place_options(command)


def take_snapshot(bundle: str, wanted: Wanted, **where: str) -> Snapshot:
    """Return the snapshot of a bundle, or of this node as it is now."""
    if bundle:
        return read_bundle(Path(bundle))
    return asyncio.run(collect(find_place(**where), wanted))


def read_bundle(path: Path) -> Snapshot:
    """Return the snapshot in a bundle. Raises UsageError when there is none."""
    text = read_bundle_file(path, SNAPSHOT_NAME)
    if not text:
        raise UsageError(f"--bundle {path}: no {SNAPSHOT_NAME} in it", field="--bundle")
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise damaged(path, error) from error
    return parse(Snapshot, raw)
