"""The policy maps on paper: they hold what those of the kernel would, to be looked into."""

from __future__ import annotations

from terway.model.address import IPAddress
from terway.model.policy_maps import (
    ClassNumber,
    Content,
    Generation,
    Keys,
    Lanes,
    PageOf,
    Pair,
    Prefix,
    Turn,
    Word,
)


class PaperMaps:
    """Maps that a test can look into. Every key type belongs to one map."""

    def __init__(self) -> None:
        self.generation = Generation(0)
        self.sides: dict[int, Turn[Lanes]] = {}
        self.hosts: dict[IPAddress, Turn[ClassNumber]] = {}
        self.nets_turn: Turn[int] | None = None
        self.nets: dict[Prefix, ClassNumber] = {}
        self.verdicts: dict[Pair, Word] = {}
        self.pages: dict[PageOf, bytes] = {}

    def read(self) -> Content:
        """Return all that is there, as it is now."""
        return Content(
            generation=self.generation,
            sides=dict(self.sides),
            hosts=dict(self.hosts),
            nets_turn=self.nets_turn,
            nets=dict(self.nets),
            verdicts=dict(self.verdicts),
            pages=dict(self.pages),
        )

    def put(self, content: Content) -> None:
        """Put entries; the generation is `switch`."""
        self.pages.update(content.pages)
        self.verdicts.update(content.verdicts)
        self.nets.update(content.nets)
        self.nets_turn = content.nets_turn or self.nets_turn
        self.hosts.update(content.hosts)
        self.sides.update(content.sides)

    def switch(self, generation: Generation) -> None:
        """Have all that was put count."""
        self.generation = generation

    def remove(self, keys: Keys) -> None:
        """Remove entries; those that are not there are no matter."""
        for key in keys:
            match key:
                case Prefix():
                    self.nets.pop(key, None)
                case Pair():
                    self.verdicts.pop(key, None)
                case PageOf():
                    self.pages.pop(key, None)
                case int():
                    self.sides.pop(key, None)
                case _:
                    self.hosts.pop(key, None)

    def mark(self) -> object:
        """Return what is another after somebody changed what packets meet first."""
        return dict(self.sides), self.nets_turn, self.generation
