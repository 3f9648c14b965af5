"""Where is the API server, and how do we prove who we are?"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from terway.model.errors import UsageError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
UNIX_SCHEME = "unix://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One API server and one identity. PEM texts are held, not paths, except the token's.

    `server` is ``https://…``, ``http://…`` or ``unix:///path`` (plain HTTP over that socket).
    `token_path` is read anew for each request: projected tokens are rotated in place.
    """

    server: str
    token: str = ""
    token_path: Path | None = None
    ca_pem: str = ""
    client_cert_pem: str = ""
    client_key_pem: str = ""
    insecure: bool = False
    server_hostname: str | None = None
    namespace: str = "default"

    @property
    def unix_path(self) -> str | None:
        """Return the path of the server's unix socket, None for TCP."""
        return self.server.removeprefix(UNIX_SCHEME) if self.server.startswith("unix:") else None

    def bearer_token(self) -> str:
        """Return the token to send now, empty for none."""
        return self.token_path.read_text().strip() if self.token_path else self.token

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return how to speak TLS to the server, None for plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert_pem:
            _load_client_cert(context, self.client_cert_pem + "\n" + self.client_key_pem)
        return context


def _load_client_cert(context: ssl.SSLContext, pem: str) -> None:
    # OpenSSL by way of Python takes the pair only from a file; this one is 0600 and soon gone.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def read_in_cluster(environ: Mapping[str, str], *, root: Path = SERVICE_ACCOUNT) -> Connection:
    """Return the connection a pod of the cluster has, by its service account.

    Raises UsageError where there is none. Source: Kubernetes docs "Accessing the API from a Pod".
    """
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    token_path = root / "token"
    if not host or not token_path.exists():
        raise UsageError(
            f"not in a cluster (KUBERNETES_SERVICE_HOST={host!r}, {token_path}); give a kubeconfig"
        )
    host = f"[{host}]" if ":" in host else host
    return Connection(
        server=f"https://{host}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}",
        token_path=token_path,
        ca_pem=(root / "ca.crt").read_text(),
        namespace=(root / "namespace").read_text().strip(),
    )


def read_kubeconfig(path: Path, *, context: str = "") -> Connection:
    """Return the connection of `context`, or of the file's current one.

    Raises UsageError with the path of the field that is missing or not supported.
    """
    document = _parse(path)
    wanted = context or str(document.get("current-context") or "")
    chosen = _named(document, "contexts", wanted, "context", path)
    cluster = _named(document, "clusters", str(chosen.get("cluster", "")), "cluster", path)
    user: dict[str, Any] = {}
    if chosen.get("user"):
        user = _named(document, "users", str(chosen["user"]), "user", path)
    for unsupported in ("exec", "auth-provider", "username"):
        if unsupported in user:
            raise UsageError(
                f"{path}: users[].user.{unsupported} is not supported; use a token or certificate",
                field=f"users[].user.{unsupported}",
            )
    token_file = user.get("tokenFile")
    return Connection(
        server=str(cluster.get("server", "")).rstrip("/"),
        token=str(user.get("token", "")),
        token_path=_beside(path, token_file) if token_file else None,
        ca_pem=_pem(cluster, "certificate-authority", path),
        client_cert_pem=_pem(user, "client-certificate", path),
        client_key_pem=_pem(user, "client-key", path),
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
        server_hostname=cluster.get("tls-server-name"),
        namespace=str(chosen.get("namespace") or "default"),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"kubeconfig {path}: {error.strerror}") from error
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        # A YAML parser costs an agent 3 MB, so it is loaded only for a kubeconfig that needs it.
        import yaml

        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"kubeconfig {path}: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"kubeconfig {path}: not a mapping")
    return document


def _named(document: dict[str, Any], many: str, name: str, one: str, path: Path) -> dict[str, Any]:
    for entry in document.get(many) or ():
        if entry.get("name") == name:
            value: dict[str, Any] = entry.get(one) or {}
            return value
    raise UsageError(f"kubeconfig {path}: no {one} named {name!r} in {many}", field=many)


def _pem(holder: dict[str, Any], field: str, path: Path) -> str:
    if data := holder.get(f"{field}-data"):
        return base64.b64decode(data).decode()
    if file := holder.get(field):
        return _beside(path, str(file)).read_text()
    return ""


def _beside(path: Path, file: str) -> Path:
    # kubectl resolves relative files against the folder of the kubeconfig.
    return path.parent / file
