"""Which part of a list belongs into this answer? Pages by number, and pages by token.

A token names the last record of its page by its order of creation, so that records which come or
go between two pages are neither skipped nor repeated.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from terway.lab.cloud.refusal import invalid

_TOKEN_PREFIX = b"serial:"


class Serial(Protocol):
    """A record with an order of creation."""

    @property
    def serial(self) -> int:
        """The order of creation."""
        ...


T = TypeVar("T")
S = TypeVar("S", bound=Serial)


def page_by_number(items: Iterable[T], *, number: int, size: int) -> tuple[list[T], int]:
    """Return page `number` (from 1) of `size` items, and how many items there are in all."""
    if number < 1:
        raise invalid("PageNumber", "it starts from 1")
    if size < 1:
        raise invalid("PageSize", "it must be at least 1")
    everything = list(items)
    return everything[(number - 1) * size : number * size], len(everything)


def page_by_token(items: Iterable[S], *, token: str, size: int) -> tuple[list[S], str]:
    """Return the items after `token`, at most `size`, and the token of the next page or ""."""
    after = serial_of(token)
    rest = (item for item in items if item.serial > after)
    page = list(islice(rest, size))
    has_more = next(rest, None) is not None
    return page, _encode(page[-1].serial) if has_more else ""


def page_either_way(
    items: Sequence[S],
    *,
    number: int,
    size: int,
    max_results: int | None,
    token: str,
    most: int,
) -> tuple[list[S], dict[str, object]]:
    """Return a page and what the answer says of it, for actions that page both ways.

    By token when MaxResults or NextToken is given, by number otherwise; `most` is the action's
    largest page.
    """
    if max_results is None and not token:
        size = min(size, most)
        page, total = page_by_number(items, number=number, size=size)
        return page, {"TotalCount": total, "PageNumber": number, "PageSize": size, "NextToken": ""}
    page, following = page_by_token(items, token=token, size=min(max_results or 10, most))
    return page, {"TotalCount": len(items), "NextToken": following}


def _encode(serial: int) -> str:
    return urlsafe_b64encode(_TOKEN_PREFIX + str(serial).encode()).decode()


def serial_of(token: str) -> int:
    """Return the order of creation that a page comes after; 0 for the first. Raises Refusal."""
    if not token:
        return 0
    try:
        prefix, _, serial = urlsafe_b64decode(token).partition(b":")
        if prefix + b":" == _TOKEN_PREFIX:
            return int(serial)
    except ValueError:
        pass
    raise invalid("NextToken", "it did not come from this cloud")
