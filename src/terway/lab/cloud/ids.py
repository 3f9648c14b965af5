"""What are new things called? Ids, MACs and secrets from one seeded source: same seed, same run."""

from __future__ import annotations

import string
from collections.abc import Callable
from itertools import count
from random import Random

from terway.model.ids import MacAddress

_LETTERS = string.ascii_lowercase + string.digits
_SECRET_LETTERS = string.ascii_letters + string.digits


class IdSource:
    """A source of names that never repeats one."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._serials = count(1)
        self._given: set[str] = set()

    def serial(self) -> int:
        """Return the next number of the order of creation."""
        return next(self._serials)

    def new(self, prefix: str) -> str:
        """Return an id in the real form: ``eni-bp1`` and 17 letters or digits."""
        return self._unique(lambda: f"{prefix}-bp1{self._letters(_LETTERS, 17)}")

    def mac(self) -> MacAddress:
        """Return a MAC of the cloud's range, 00:16:3e."""
        return MacAddress(self._unique(self._random_mac))

    def secret(self, length: int = 30) -> str:
        """Return a secret: of an access key, or a security token."""
        return self._letters(_SECRET_LETTERS, length)

    def request_id(self) -> str:
        """Return a RequestId: an upper-case UUID."""
        digits = f"{self._random.getrandbits(128):032X}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def number(self, bits: int) -> int:
        """Return a random number of at most `bits` bits."""
        return self._random.getrandbits(bits)

    def _random_mac(self) -> str:
        tail = self._random.getrandbits(24).to_bytes(3)
        return "00:16:3e:" + tail.hex(":")

    def _letters(self, letters: str, length: int) -> str:
        return "".join(self._random.choices(letters, k=length))

    def _unique(self, make: Callable[[], str]) -> str:
        while True:
            made = make()
            if made not in self._given:
                self._given.add(made)
                return made
