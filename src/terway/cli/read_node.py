"""What do the node's own files and terwayd say: journal, configuration, debug socket?"""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec

from terway.cli.place import Place
from terway.cli.snapshot import (
    AgentView,
    ConfigView,
    ENIView,
    JournalView,
    PrefixView,
    SlotView,
)
from terway.config.agent_config import FILES, AgentConfig, parse_agent_config
from terway.config.eni_conf import PATH
from terway.model.errors import TransientError, UsageError
from terway.store.readonly import read_journal
from terway.store.records import StoreError

_TIMEOUT_S = 3.0
_EXCLUSIVE = "eniOnly"  # as the label of the node says it
REDACTED = "(redacted)"
_SECRETS = ("access_key", "access_secret", "credential_path")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get_page(place: Place, page: str) -> tuple[int, bytes]:
    """Return status and body of a page of terwayd's. Raises TransientError when it is down."""
    with closing(_UnixConnection(place.debug_socket)) as connection:
        try:
            connection.request("GET", page)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            text = f"terwayd does not answer at {place.debug_socket} ({error.strerror or error})"
            raise TransientError(f"{text}: {_why_down(place)}") from error


def _why_down(place: Place) -> str:
    """Return what terwayd said at its end; where it left no word, how to look for its pod."""
    try:
        return f"it ended with: {place.last_error.read_text().strip()}"
    except OSError:
        return f"kubectl -n {place.namespace} get pods -o wide | grep {place.node_name}"


def read_agent(place: Place) -> AgentView:
    """Return what terwayd says of itself. Raises TransientError when it is down."""
    ready, _ = get_page(place, "/readyz")
    _, body = get_page(place, "/debug/state")
    pool = msgspec.json.decode(body).get("pool", {})
    status, text = get_page(place, "/debug/datapath")
    datapath = msgspec.json.decode(text) if status == 200 else {}  # an earlier terwayd has none
    return AgentView(
        is_ready=ready == 200,
        capacity=int(pool.get("capacity", 0)),
        can_add=bool(pool.get("can_add", True)),
        reason=str(pool.get("reason", "")),
        free=int(pool.get("free", 0)),
        bound=int(pool.get("bound", 0)),
        asked_mode=str(datapath.get("asked", "")),
        mode=str(datapath.get("mode", "")),
        lacks=str(datapath.get("lacks", "")),
    )


def read_journal_view(place: Place) -> JournalView:
    """Return the journal. Raises TransientError when it cannot be read."""
    try:
        found = read_journal(place.journal)
    except StoreError as error:
        raise TransientError(str(error)) from error
    return JournalView(
        attachments=found.attachments,
        slots=tuple(
            SlotView(
                address=one.address,
                eni_id=one.eni_id,
                is_primary=one.is_primary,
                is_retiring=one.is_retiring,
                rests_until=one.rests_until,
            )
            for one in found.slots
        ),
        enis=tuple(
            ENIView(id=one.id, mac=one.mac, vswitch_id=one.vswitch_id, phase=one.phase)
            for one in found.enis
        ),
        prefixes=tuple(
            PrefixView(network=one.network, eni_id=one.eni_id, phase=one.phase)
            for one in found.prefixes
        ),
        vswitches=found.vswitches,
        intents=len(found.intents),
        is_exclusive=_is_exclusive(place),
    )


def _is_exclusive(place: Place) -> bool:
    """Return what terwayd has kept of the node's mode; a node of an earlier one shares ENIs."""
    kept = place.state_dir / "node_mode"
    return kept.is_file() and kept.read_text().strip() == _EXCLUSIVE


def read_files(place: Place) -> dict[str, str]:
    """Return the keys of eni-config as they are on the node, secrets and all."""
    folder = place.config.parent
    found = {name: folder / name for name in FILES if (folder / name).is_file()}
    if PATH not in found:
        text = f"{place.config} is not there: mount the ConfigMap eni-config"
        raise TransientError(text)
    return {name: path.read_text() for name, path in found.items()}


def read_agent_config(place: Place) -> AgentConfig:
    """Return the configuration. Raises UsageError, and TransientError where there is none."""
    kept = place.state_dir / "node_conf.json"
    patch = kept.read_text() if kept.exists() else None
    return parse_agent_config(read_files(place), patch=patch)


def read_config(place: Place) -> ConfigView:
    """Return the configuration's files without their secrets, and what the parser says."""
    files = {name: redact(text) for name, text in read_files(place).items()}
    view = ConfigView(files=files)
    try:
        parsed = read_agent_config(place)
    except UsageError as error:
        return replace(view, refusal=str(error))
    return replace(view, cautions=tuple(map(str, parsed.warnings)), chained=parsed.cni.chained)


def redact(text: str) -> str:
    """Return a configuration text without secrets; one that is no JSON is left out whole."""
    try:
        document = json.loads(text)
    except ValueError:
        return text if text.strip() in ("", "true", "false", "0", "1") else REDACTED
    return json.dumps(_redacted(document), indent=2)


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: REDACTED if key in _SECRETS and one else _redacted(one)
            for key, one in value.items()
        }
    return [_redacted(one) for one in value] if isinstance(value, list) else value
