"""terway-cli support-bundle: everything that is known of a node, in one file, without secrets."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from terway.cli.bundle_file import SNAPSHOT_NAME
from terway.cli.codec import plain
from terway.cli.collect import Wanted, collect
from terway.cli.doctor import doctor_lines, examine
from terway.cli.drops import drop_lines, drops_of
from terway.cli.exits import CANNOT_REACH, OK
from terway.cli.mapping import mapping_lines, mapping_of, verdict
from terway.cli.place import Place, find_place, place_options
from terway.cli.policy_bundle import (
    MAPS_NAME,
    OBJECTS_NAME,
    TABLES_NAME,
    failed_member,
    maps_member,
    objects_member,
    tables_member,
)
from terway.cli.policy_maps import dump_policy_maps
from terway.cli.policy_read import read_cluster
from terway.cli.policy_verified import read_tables
from terway.cli.prefixes import prefixes_of
from terway.cli.question import every_frontend
from terway.cli.read_central import read_resources, resource_members
from terway.cli.read_node import get_page
from terway.cli.read_policy import read_policy
from terway.cli.show import show_lines
from terway.cli.snapshot import Snapshot
from terway.cli.table import print_json, print_lines, wrapped
from terway.model.errors import UsageError, VpcError

_LOG = Path("var/log/terway/terwayd.log")
_LOG_BYTES = 2_000_000  # the end of it
_PAGES = ("/metrics", "/debug/state", "/debug/policy", "/healthz", "/readyz")


@click.command("support-bundle")
@click.option("--output", default="", help="The file; terway-NODE-TIME.tar.gz by default.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(output: str, as_json: bool, **where: str) -> None:
    """Write all state of this node into one tar.gz, secrets left out.

    `terway-cli show|mapping|doctor|why|policy verify --bundle FILE` read it anywhere, and the rest
    of `terway-cli policy` by `-f FILE`. Without --output it is written into this folder, or into
    that for temporary files where this one is `/`. What could not be read is named; exit code 3
    when nothing could but the kernel.
    """
    place = find_place(**where)
    wanted = Wanted(
        everything_of_kube=True,
        deep_cloud=True,
        probes=True,
        read_policy=read_policy,
        frontends=every_frontend,
    )
    snapshot = asyncio.run(collect(place, wanted))
    stamp = snapshot.taken_at.replace(":", "").replace("+0000", "Z")
    name = f"terway-{snapshot.node_name}-{stamp}"
    path = Path(output).absolute() if output else _default_folder() / f"{name}.tar.gz"
    members = dict(bundle_members(snapshot, place))
    write_bundle(path, name, members)
    if as_json:
        print_json({"path": str(path), "members": sorted(members)})
    else:
        print_lines(_lines(snapshot, path, len(members)))
    raise SystemExit(CANNOT_REACH if snapshot.is_blind else OK)


def _default_folder() -> Path:
    """Return where a person looks for a file: here, unless that is only where a shell began."""
    here = Path.cwd()
    return Path(tempfile.gettempdir()) if here == Path("/") else here


def _lines(snapshot: Snapshot, path: Path, count: int) -> Iterator[str]:
    for one in snapshot.missing:
        yield from wrapped(f"! {one.source} could not be read: {one.reason}")
    yield str(path)
    yield f"{path.stat().st_size // 1024} KiB, {count} files; read it anywhere:"
    yield f"terway-cli show --bundle {path}"


def bundle_members(snapshot: Snapshot, place: Place) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a bundle: the snapshot for us, the rest for people."""
    yield SNAPSHOT_NAME, json.dumps(plain(snapshot), indent=1).encode()
    yield "show.txt", _text(show_lines(snapshot))
    rows, prefixes = mapping_of(snapshot), prefixes_of(snapshot)
    mapped = mapping_lines(rows, snapshot, prefixes)
    yield "mapping.txt", _text([*mapped, "", verdict(rows, prefixes)])
    yield "doctor.txt", _text(list(doctor_lines(examine(snapshot))))
    with suppress(VpcError):  # without a kernel nothing was lost that is known
        yield "drops.txt", _text(list(drop_lines(drops_of(snapshot))))
    for page in _PAGES:
        with suppress(VpcError):
            yield f"terwayd{page.replace('/', '-')}.txt", get_page(place, page)[1]
    with suppress(VpcError):  # of a cluster that has no such resources nothing is missed
        yield from resource_members(asyncio.run(read_resources(place)))
    yield from _policy_members(snapshot, place)
    log = place.root / _LOG
    if log.is_file():
        yield "terwayd.log", log.read_bytes()[-_LOG_BYTES:]


def _policy_members(snapshot: Snapshot, place: Place) -> Iterator[tuple[str, bytes]]:
    """Yield what the policies' tools need: the tables first, as they are older than the objects."""
    held = snapshot.journal.attachments if snapshot.journal is not None else ()
    try:
        dump = dump_policy_maps()
        if dump is not None:
            yield MAPS_NAME, maps_member(dump)
    except VpcError as error:
        yield MAPS_NAME, failed_member(error)
    try:
        yield TABLES_NAME, tables_member(read_tables(held))
    except VpcError as error:
        yield TABLES_NAME, failed_member(error)
    try:
        objects = asyncio.run(read_cluster(place))
        yield OBJECTS_NAME, objects_member(one.raw for one in objects)
    except VpcError as error:
        yield OBJECTS_NAME, failed_member(error)


def _text(lines: list[str]) -> bytes:
    return "\n".join(lines).encode() + b"\n"


def write_bundle(path: Path, name: str, members: dict[str, bytes]) -> None:
    """Write the files under a folder `name`. Raises UsageError when the path cannot be written."""
    try:
        with tarfile.open(path, "w:gz") as archive:
            for member, data in members.items():
                entry = tarfile.TarInfo(f"{name}/{member}")
                entry.size = len(data)
                entry.mode = 0o600
                archive.addfile(entry, io.BytesIO(data))
        path.chmod(0o600)
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}", field="--output") from error
