"""What terway-cli cannot do, it says in a line, with the exit code that the help names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from terway.cli.app import cli
from terway.cli.bundle import write_bundle
from terway.cli.bundle_file import METRICS_NAME, SNAPSHOT_NAME
from terway.cli.capture import taps_of
from terway.cli.codec import plain
from terway.cli.matrix_plan import left_out, matrix_lines
from terway.cli.snapshot import JournalView, KubeNode, Snapshot
from terway.lab.faults.commands import faults
from terway.model.errors import UsageError
from terway.model.interface import InterfaceSpec, Mode
from tests.support.snapshots import PODS, healthy


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in words])


def bundle_of(snapshot: Snapshot, folder: Path) -> Path:
    path = folder / "b.tar.gz"
    write_bundle(path, "b", {SNAPSHOT_NAME: json.dumps(plain(snapshot)).encode()})
    return path


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.9])
def test_a_bundle_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = bundle_of(healthy(), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])

    ran = run("show", "--bundle", path)

    assert ran.exit_code == 2
    assert "cut off or damaged" in ran.output
    assert len(ran.output.splitlines()) == 1
    assert "Aborted" not in ran.output


def test_a_pod_cannot_be_looked_for_without_a_journal(tmp_path: Path) -> None:
    ran = run("why", "a", "near", "--bundle", bundle_of(replace(healthy(), journal=None), tmp_path))

    assert (ran.exit_code, ran.output) == (3, "terway-cli: journal: it was not read\n")


def test_pods_of_the_node_are_named_once_each_when_one_is_not_there(tmp_path: Path) -> None:
    second = replace(PODS["a"], key=replace(PODS["a"].key, ifname="net1"))
    journal = JournalView(attachments=(*PODS.values(), second))

    ran = run(
        "why", "x", "near", "--bundle", bundle_of(replace(healthy(), journal=journal), tmp_path)
    )

    text = "terway-cli: no pod x on this node; there are: default/a, default/near\n"
    assert (ran.exit_code, ran.output) == (2, text)


def nothing_told(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, journal=None, agent=None, instance=None, cloud=None, kubernetes=None)


def test_show_of_what_only_the_kernel_tells_is_exit_code_3(tmp_path: Path) -> None:
    blind = bundle_of(nothing_told(healthy()), tmp_path)
    assert run("show", "--bundle", blind).exit_code == 3

    partly = bundle_of(replace(healthy(), journal=None), tmp_path)
    assert run("show", "--bundle", partly).exit_code == 0


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A machine that is no node: every source is asked, and none is there."""
    for name in ("ECS_ENDPOINT", "VPC_ENDPOINT", "METADATA_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    return "--root", str(root), "--kubeconfig", str(root / "none")


@pytest.mark.root
def test_a_bundle_of_no_node_names_what_is_missing_and_where_it_is(
    nowhere: tuple[str, ...], tmp_path: Path
) -> None:
    ran = run("support-bundle", *nowhere)

    (path,) = tmp_path.glob("terway-*.tar.gz")
    assert ran.exit_code == 3
    assert str(path) in ran.output.splitlines()
    assert "! journal could not be read:" in ran.output


@pytest.mark.root
def test_a_bundle_is_not_written_into_the_root(
    nowhere: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    path = Path(json.loads(run("support-bundle", "--json", *nowhere).stdout)["path"])

    assert path.parent == tmp_path
    assert path.is_file()


def test_figures_of_a_bundle_are_shown_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    write_bundle(path, "b", {METRICS_NAME: b"terway_pool_free 3\nterway_calls 7\n"})

    shown = run("metrics", "pool", "--bundle", path)
    refused = run("metrics", "terway_pol", "--bundle", path)

    assert (shown.exit_code, shown.output.split()) == (0, ["3", "terway_pool_free"])
    assert refused.exit_code == 2
    assert "no figure has 'terway_pol' in its name: did you mean terway_pool_free" in refused.output


def test_a_bundle_without_figures_says_that_terwayd_was_down(tmp_path: Path) -> None:
    ran = run("metrics", "--bundle", bundle_of(healthy(), tmp_path))

    assert ran.exit_code == 3
    assert "terwayd did not answer when it was made" in ran.output


@pytest.mark.parametrize(
    "words",
    [("--need", "-3"), ("--ratio", "-1"), ("--ratio", "0"), ("--max-eni", "-1")],
)
def test_impossible_numbers_of_a_capacity_are_refused(words: tuple[str, ...]) -> None:
    ran = run("capacity", "ecs.g7.large", "--offline", *words)

    assert ran.exit_code == 2
    assert words[0] in ran.output


def test_both_ends_of_an_eni_that_is_in_the_pod_cannot_be_captured() -> None:
    there = healthy()
    assert there.kernel is not None
    own = replace(PODS["a"], spec=InterfaceSpec(mode=Mode.EXCLUSIVE))
    links = tuple(one for one in there.kernel.node.links if one.mac != own.lease.eni_mac)
    there = replace(
        there,
        journal=JournalView(attachments=(own,), is_exclusive=True),
        kernel=replace(there.kernel, node=replace(there.kernel.node, links=links)),
    )

    with pytest.raises(UsageError, match="its device is in the pod"):
        taps_of(there, "a", both=True)
    assert [one.link for one in taps_of(there, "a", both=False)] == ["eth0"]


def test_nodes_that_are_not_ready_are_named_with_the_reason() -> None:
    bad = KubeNode(name="n2", addresses=(), is_ready=False, conditions=("Ready=False: down",))
    lines = matrix_lines(left_out([KubeNode(name="n1", addresses=(), is_ready=True), bad]))

    assert "skip  pod on n2 to (all): the Node is not Ready; Ready=False: down" in lines
    assert not any("n1" in one for one in lines)


@pytest.mark.parametrize("words", [("--count", "-5"), ("--minutes", "-1"), ("--jobs", "-1")])
def test_impossible_numbers_of_histories_are_refused(words: tuple[str, ...]) -> None:
    ran = CliRunner().invoke(faults, ["run", *words])

    assert ran.exit_code == 2
    assert words[0] in ran.output


@pytest.mark.root
def test_a_packet_cannot_be_walked_where_terwayd_has_never_run(nowhere: tuple[str, ...]) -> None:
    ran = run("why", "a", "192.0.2.1", *nowhere)

    assert ran.exit_code == 3
    assert ran.stderr.startswith("terway-cli: journal: ")
    assert ran.stderr.endswith("there is no journal: terwayd has not run on this node\n")
