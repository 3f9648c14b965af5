"""kubectl, whichever the machine has, against a served cluster."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    code: int
    out: str
    err: str


class Kubectl:
    """kubectl with the kubeconfig of one served cluster, and a home of its own."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder = folder
        path = os.environ.get("PATH", "")
        self.environ = {"PATH": path, "HOME": str(folder), "KUBECONFIG": str(kubeconfig)}

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "kubectl", *words, env=self.environ, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def run(self, *words: str, stdin: str = "") -> Answer:
        process = await self.start(*words)
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
        return Answer(code=process.returncode or 0, out=out.decode(), err=err.decode())

    async def __call__(self, *words: str, stdin: str = "") -> str:
        """Run a command that must succeed, and return what it prints."""
        answer = await self.run(*words, stdin=stdin)
        assert answer.code == 0, answer
        return answer.out

    async def apply(self, manifest: str) -> str:
        return await self("apply", "-f", "-", stdin=manifest)
