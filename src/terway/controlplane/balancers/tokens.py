"""Which client token has a creation? The same until it is known what became of it, then another.

The cloud answers a token that it knows with what it made then, gone or not. So what was taken away,
by us or by hand, is made again with a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from terway.model.errors import TransientError
from terway.model.ids import ClientToken


class Tokens:
    """Tokens of one process: `seed` differs for each start."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._ended: Counter[str] = Counter()

    @contextmanager
    def of(self, what: str) -> Iterator[ClientToken]:
        """Give the token for making `what` in the block."""
        words = f"{self._seed}/{what}/{self._ended[what]}"
        try:
            yield ClientToken(sha256(words.encode()).hexdigest())
        except TransientError:
            raise  # it may have been made: whoever tries again must get that
        except Exception:
            self._ended[what] += 1
            raise
        self._ended[what] += 1
