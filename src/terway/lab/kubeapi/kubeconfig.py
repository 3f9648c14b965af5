"""What do kubectl and our own client need to reach the server? A kubeconfig.

Written as JSON, which is YAML: terwayd then needs no YAML parser to read it.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from terway.lab.kubeapi.objects import Object


def make_kubeconfig(
    *, server: str, ca_pem: str = "", token: str = "", name: str = "terway-lab", user: str = "admin"
) -> Object:
    """Return a kubeconfig with one cluster, one user and one context."""
    cluster: Object = {"server": server}
    if ca_pem:
        cluster["certificate-authority-data"] = base64.b64encode(ca_pem.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token} if token else {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
        "preferences": {},
    }


def write_kubeconfig(path: Path, **fields: str) -> None:
    """Write a kubeconfig that only its owner can read; `fields` as `make_kubeconfig` has them."""
    text = json.dumps(make_kubeconfig(**fields), indent=2) + "\n"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
