"""Where does a command's snapshot come from: this node, or a bundle that somebody sent?"""

from __future__ import annotations

import asyncio
import json
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from terway.cli.codec import parse
from terway.cli.collect import Wanted, collect
from terway.cli.place import find_place, place_options
from terway.cli.snapshot import Snapshot
from terway.model.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

SNAPSHOT_NAME = "snapshot.json"
METRICS_NAME = "terwayd-metrics.txt"


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
        raise _damaged(path, error) from error
    return parse(Snapshot, raw)


def read_bundle_file(path: Path, name: str) -> bytes | None:
    """Return a file of a bundle, None when it has none. Raises UsageError for what is no bundle."""
    try:
        with tarfile.open(path) as archive:
            names = [one for one in archive.getnames() if one.endswith(f"/{name}")]
            member = archive.extractfile(names[0]) if names else None
            return member.read() if member else None
    except (EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    except tarfile.TarError as error:  # it names each compression that it tried, in lines
        text = f"--bundle {path}: it is no tar.gz, or cut off or damaged; copy it once more"
        raise UsageError(text, field="--bundle") from error
    except OSError as error:
        raise UsageError(f"--bundle {path}: {error.strerror or error}", field="--bundle") from error


def _damaged(path: Path, error: Exception) -> UsageError:
    text = f"--bundle {path}: it is cut off or damaged ({error}); copy it once more"
    return UsageError(text, field="--bundle")
