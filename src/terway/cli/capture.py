"""terway-cli capture: what passes a pod and its ENI, and what does not come out again?"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import click

from terway.cli.collect import Wanted
from terway.cli.correlate import Crossing, correlate
from terway.cli.exits import FOUND, OK
from terway.cli.frames import SNAP_BYTES, Filter, Frame, pcap
from terway.cli.hops import Ground
from terway.cli.place import place_options
from terway.cli.question import find_sender
from terway.cli.snapshot import Snapshot, require
from terway.cli.source import take_snapshot
from terway.cli.table import print_json, print_lines
from terway.linux.capture import listen, open_tap
from terway.model.address import IPAddress
from terway.model.errors import UsageError
from terway.model.interface import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """One place to listen at. `only` narrows a link that others use, too, to the pod's packets."""

    name: str
    netns: str
    link: str
    only: frozenset[IPAddress] = frozenset()


@click.command("capture")
@click.argument("target", metavar="[NAMESPACE/]POD|ENI|LINK")
@click.option("--both", is_flag=True, help="The pod's end and its ENI at once, correlated.")
@click.option("--host", default="", help="Only packets from or to this address.")
@click.option("--port", type=click.IntRange(1, 65535), help="Only packets with this port.")
@click.option("--proto", type=click.Choice(["tcp", "udp", "icmp", "icmpv6"]))
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10.0, show_default=True)
@click.option("--count", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--output", default="", help="The pcap file; one more per end with --both.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(
    *,
    target: str,
    both: bool,
    host: str,
    port: int | None,
    proto: str | None,
    seconds: float,
    count: int,
    output: str,
    as_json: bool,
    **where: str,
) -> None:
    """Capture packets of a pod (in its namespace), or of an ENI or link of the node.

    With --both, a pod's packets are caught at its own end and at its ENI at the same time, and
    compared: which went in and did not come out, and how long the others took. Packets between
    pods of one node do not reach an ENI. Exit code 1 when --both finds packets lost.
    """
    snapshot = take_snapshot("", Wanted(sources={"journal", "kernel", "kubernetes"}), **where)
    taps = taps_of(snapshot, target, both=both)
    wanted = Filter(host=ip_address(host) if host else None, port=port, protocol=proto)
    frames = catch(taps, wanted, seconds=seconds, count=count)
    files = _write(output, taps, frames) if output else []
    crossings = correlate(frames[0], frames[1]) if both else ()
    lost = [one for one in crossings if one.latency_ns is None]
    if as_json:
        counts = {tap.name: len(found) for tap, found in zip(taps, frames, strict=True)}
        print_json({"frames": counts, "files": files, "crossings": crossings})
    else:
        print_lines(capture_lines(taps, frames, files, crossings))
    raise SystemExit(FOUND if lost else OK)


def taps_of(snapshot: Snapshot, target: str, *, both: bool) -> tuple[Tap, ...]:
    """Return where to listen. Raises UsageError when nothing has the name."""
    ground = Ground(snapshot, require(snapshot.kernel, snapshot, "kernel"))
    journal = require(snapshot.journal, snapshot, "journal")
    names = {str(one.id): ground.link(one.mac) for one in journal.enis}
    links = {one.name for one in ground.node.links}
    link = names.get(target)
    name = link.name if link is not None else target
    if name in links:
        if both:
            raise UsageError("--both: name a pod; an ENI is one end only", field="--both")
        return (Tap(name=name, netns="", link=name),)
    held = find_sender(snapshot, target)
    pod = Tap(name=f"pod {held.pod}", netns=held.netns, link=held.key.ifname)
    if not both:
        return (pod,)
    eni = ground.link(held.device_mac)
    if eni is None:
        text = f"--both: ENI {held.lease.eni_id} has no link on the node"
        if held.spec.mode is Mode.EXCLUSIVE:
            text = f"--both: pod {held.pod} has an ENI of its own: its device is in the pod"
            text = f"{text}, and both ends are one; leave --both out"
        raise UsageError(text, field="--both")
    only = frozenset(held.lease.addresses)
    return pod, Tap(name=f"ENI {eni.name}", netns="", link=eni.name, only=only)


def catch(
    taps: tuple[Tap, ...], wanted: Filter, *, seconds: float, count: int
) -> list[list[Frame]]:
    """Return the wanted frames of each tap, in the order of `taps`."""
    found: list[list[Frame]] = [[] for _ in taps]

    def take(index: int, at_ns: int, data: bytes) -> bool:
        frame = Frame(at_ns=at_ns, data=data)
        only = taps[index].only
        is_about = not only or any(Filter(host=one).accepts(frame) for one in only)
        if is_about and wanted.accepts(frame) and len(found[index]) < count:
            found[index].append(frame)
        return len(found[0]) < count

    with ExitStack() as stack:
        sockets = [stack.enter_context(open_tap(one.netns, one.link)) for one in taps]
        click.echo(f"capturing on {', '.join(one.name for one in taps)} …", err=True)
        listen(sockets, take, seconds=seconds, snap_bytes=SNAP_BYTES)
    return found


def _write(output: str, taps: tuple[Tap, ...], frames: list[list[Frame]]) -> list[str]:
    paths = [Path(output)]
    if len(taps) > 1:
        paths = [paths[0].with_stem(f"{paths[0].stem}-{end}") for end in ("pod", "eni")]
    for path, found in zip(paths, frames, strict=True):
        path.write_bytes(pcap(found))
    return [str(path) for path in paths]


def capture_lines(
    taps: tuple[Tap, ...],
    frames: list[list[Frame]],
    files: list[str],
    crossings: tuple[Crossing, ...],
) -> list[str]:
    """Return what was caught, and what was lost between the two ends."""
    lines = [f"{tap.name}: {len(found)} frames" for tap, found in zip(taps, frames, strict=True)]
    lines += [f"written: {one}" for one in files]
    times = sorted(abs(one.latency_ns) for one in crossings if one.latency_ns is not None)
    if times:
        middle, last = times[len(times) // 2], times[-1]
        spread = f"median {middle / 1000:.1f} us, longest {last / 1000:.1f} us"
        lines.append(f"{len(times)} packets crossed: {spread}")
    lost = [one for one in crossings if one.latency_ns is None]
    if lost:
        lines.append(f"{len(lost)} packets were seen at one end only:")
        lines += [f"  {one.flow}" for one in lost[:20]]
    return lines
