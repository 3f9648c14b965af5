"""How is one CNI plugin run, and what does its answer mean?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from terway.model.errors import CapacityError, TransientError, UsageError, VpcError

_PLUGIN_TIMEOUT_S = 150.0  # above the plugin's own 120 s: it knows better why it waits
_TRY_AGAIN_LATER = 11  # SPEC.md, error codes


async def run_plugin(path: Path, env: Mapping[str, str], stdin: bytes, *, what: str) -> bytes:
    """Run a plugin and return its stdout. Raises what its error object says.

    CapacityError for code 11 (try again later), UsageError for the other codes of the
    specification, TransientError for a plugin that says nothing understandable.
    """
    process = await asyncio.create_subprocess_exec(
        path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
    )
    try:
        async with asyncio.timeout(_PLUGIN_TIMEOUT_S):
            stdout, stderr = await process.communicate(stdin)
    except TimeoutError as error:
        raise TransientError(f"{what}: no answer within {_PLUGIN_TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _error(what, stdout, stderr, process.returncode)
    return stdout


def _error(what: str, stdout: bytes, stderr: bytes, status: int | None) -> VpcError:
    try:
        raw = json.loads(stdout)
        code, text = int(raw["code"]), f"{raw.get('msg', '')} {raw.get('details', '')}".strip()
    except (ValueError, KeyError, TypeError):
        said = (stderr or stdout).decode(errors="replace").strip()
        return TransientError(f"{what}: exit status {status}: {said or 'nothing on stdout'}")
    message = f"plugin {what} failed (code {code}): {text}"
    if code == _TRY_AGAIN_LATER:
        return CapacityError(message, code=str(code))
    return UsageError(message, code=str(code))
