"""Which objects does a LIST return, page by page, all of one moment?"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from terway.lab.kubeapi.errors import bad_request, expired, too_large_version
from terway.lab.kubeapi.resources import ResourceDef
from terway.lab.kubeapi.selectors import Predicate, everything
from terway.lab.kubeapi.store import ForgottenError, Key, Store, Stored

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a collection at `revision`; `continue_` asks for the next part, if any is left."""

    items: tuple[Stored, ...]
    revision: int
    continue_: str = ""
    remaining: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What part of a collection is wanted, and of which moment."""

    namespace: str = ""
    matches: Predicate = everything
    limit: int = 0  # 0: all
    continue_: str = ""
    resource_version: str = ""
    version_match: str = ""


class _Token(msgspec.Struct):
    revision: int
    namespace: str
    name: str


def _encode(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _decode(text: str) -> _Token:
    try:
        padded = text + "=" * (-len(text) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Token)
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error


def parse_version(text: str) -> int:
    """Return a resourceVersion parameter as a number; 0 for none. ApiError 400 for nonsense."""
    if not text:
        return 0
    if not text.isdigit():
        raise bad_request(f'invalid resource version: "{text}"')
    return int(text)


def parse_limit(query: Mapping[str, str]) -> int:
    """Return the `limit` parameter, 0 for none. ApiError 400 for nonsense."""
    text = query.get("limit", "") or "0"
    if not text.isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def list_page(store: Store, resource: ResourceDef, options: ListOptions) -> Page:
    """Return the page. ApiError 410 when its moment is forgotten, 504 for one still to come."""
    token = _decode(options.continue_) if options.continue_ else None
    revision = _moment(store, options, token)
    try:
        found, order = store.listed_at(resource, revision, options.namespace)
    except ForgottenError as error:
        raise expired(_CONTINUE_EXPIRED if token else _too_old(revision)) from error
    first = bisect_right(order, Key(token.namespace, token.name)) if token else 0
    keys = order[first:]
    if options.matches is not everything:
        keys = [key for key in keys if options.matches(found[key].object)]
    taken = keys[: options.limit] if options.limit else keys
    remaining = len(keys) - len(taken)
    after = ""
    if remaining:
        last = taken[-1]
        after = _encode(_Token(revision=revision, namespace=last.namespace, name=last.name))
    return Page(
        items=tuple(found[key] for key in taken),
        revision=revision,
        continue_=after,
        remaining=remaining,
    )


def _moment(store: Store, options: ListOptions, token: _Token | None) -> int:
    if token:
        return token.revision
    wanted = parse_version(options.resource_version)
    if wanted > store.revision:
        raise too_large_version(wanted, store.revision)
    return wanted if options.version_match == "Exact" and wanted else store.revision


def _too_old(revision: int) -> str:
    return f"The resourceVersion for the provided list is too old: {revision}"
