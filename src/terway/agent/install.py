"""What terwayd puts on the host: the plugin, and the configuration that tells the runtime of it.

Both are written beside their place and renamed: a runtime that looks in between sees the old
file or the new one. The configuration comes last, and only when terwayd serves: its appearance
makes the kubelet call the node ready (bug class 21). It stays when terwayd stops.
"""

from __future__ import annotations

import os
from pathlib import Path

from terway.model.errors import UsageError

PLUGIN = Path(__file__).resolve().parent.parent / "cni" / "bin" / "terway"
PLUGIN_NAME = "terway"
# Upstream's name for a configuration without a chain; a runtime would read it as a second network.
STALE_CONF = "10-terway.conf"


def install_plugin(folder: Path) -> bool:
    """Put the plugin into `folder`; return whether it was another one, or none. Idempotent."""
    if not PLUGIN.exists():
        text = f"the CNI plugin {PLUGIN} has not been built: run `make objects`"
        raise UsageError(text, field="--root")
    return _replace(folder / PLUGIN_NAME, PLUGIN.read_bytes(), mode=0o755)


def install_conflist(path: Path, content: bytes) -> bool:
    """Put the CNI configuration at `path`; return whether it changed. Idempotent."""
    changed = _replace(path, content, mode=0o644)
    (path.parent / STALE_CONF).unlink(missing_ok=True)
    return changed


def _replace(path: Path, content: bytes, *, mode: int) -> bool:
    if path.exists() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.rename(path)
    return True
