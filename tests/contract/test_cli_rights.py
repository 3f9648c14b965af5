"""Commands that a service account may not do say so with the remedy, and know nothing: exit 3."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from terway.kube.client import KubeClient
from terway.lab.world.accounts import issue_kubeconfig
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server

USER = "system:serviceaccount:kube-system:terway"


@pytest.fixture
async def of_terway(tmp_path: Path) -> AsyncIterator[Path]:
    """Give the kubeconfig of an account without any role."""
    async with open_kube_server(make_cluster(), tmp_path) as server:
        async with KubeClient(server.unix) as admin:
            base = server.kubeconfig.read_text()
            text = await issue_kubeconfig(admin, base, service_account="terway")
        path = tmp_path / "terway.kubeconfig"
        path.write_text(text)
        yield path


async def run(*words: str) -> tuple[int | None, str]:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "terway.cli", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await program.communicate()
    return program.returncode, said.decode()


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (("events",), "list events"),
        (("policy", "status"), "list namespaces"),
        (("connectivity-test",), "list pods"),
    ],
    ids=["events", "policy status", "connectivity-test"],
)
async def test_a_missing_right_is_named_with_whose_and_the_remedy(
    of_terway: Path, tmp_path: Path, words: tuple[str, ...], right: str
) -> None:
    code, said = await run(*words, "--kubeconfig", str(of_terway), "--root", str(tmp_path))

    assert f"{USER} (of {of_terway}) may not {right}" in said
    assert "--kubeconfig FILE or KUBECONFIG" in said
    assert code == 3
