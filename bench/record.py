"""What is a figure, when is it good enough, and how is it written down?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path


class Bound(Enum):
    """Which side of its limit a figure has to stay on."""

    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What issue 2 asks of a figure: of its ratio to the reference, or of the value itself."""

    bound: Bound
    limit: float
    of_ratio: bool = True

    def is_met(self, record: Record) -> bool:
        """Return whether `record` keeps to the limit."""
        measured = record.ratio if self.of_ratio else record.value
        return measured <= self.limit if self.bound is Bound.AT_MOST else measured >= self.limit

    def __str__(self) -> str:
        return f"{self.bound.value} {self.limit:g}{'x' if self.of_ratio else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One figure as measured. `runs` counts the measurements behind each of the two values.

    Where there is no other program to compare with, the reference is the limit itself.
    """

    figure: str
    subject: str
    value: float
    reference: str
    reference_value: float
    unit: str
    runs: int
    target: Target | None = None

    @property
    def ratio(self) -> float:
        """Return the value in terms of the reference."""
        return self.value / self.reference_value if self.reference_value else float("inf")

    @property
    def is_met(self) -> bool | None:
        """Return whether the target is met, None without a target."""
        return None if self.target is None else self.target.is_met(self)


def absolute(
    figure: str, *, subject: str, value: float, target: Target, unit: str, runs: int
) -> Record:
    """Return the record of a figure that has a limit and no other program beside it."""
    return Record(
        figure=figure,
        subject=subject,
        value=value,
        reference=f"the limit, {target.bound.value} {target.limit:g} {unit}",
        reference_value=target.limit,
        unit=unit,
        runs=runs,
        target=target,
    )


def encode(record: Record) -> dict[str, object]:
    """Return the record as the results file has it."""
    fields = asdict(record)
    fields["ratio"] = round(record.ratio, 4)
    fields["target"] = str(record.target) if record.target else None
    fields["met"] = record.is_met
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}


def write(path: Path, records: Iterable[Record]) -> None:
    """Write the results; figures that were not measured this time keep their last record."""
    fresh = [encode(record) for record in records]
    kept = json.loads(path.read_text()) if path.exists() else []
    names = {entry["figure"] for entry in fresh}
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = sorted(
        [*fresh, *(entry for entry in kept if entry["figure"] not in names)],
        key=lambda entry: str(entry["figure"]),
    )
    path.write_text(json.dumps(merged, indent=1) + "\n")


def table(records: Sequence[Record]) -> str:
    """Return the records as a table of at most 80 columns."""
    head = f"{'figure':<29}{'value':>8}{'reference':>10} {'unit':<7}{'ratio':>6}  {'target':<9}"
    rows = [head.rstrip(), "-" * 78, *(_row(record) for record in records)]
    return "\n".join(rows)


def _row(record: Record) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[record.is_met]
    target = str(record.target) if record.target else ""
    return (
        f"{record.figure:<29}{record.value:>8.4g}{record.reference_value:>10.4g} "
        f"{record.unit:<7}{record.ratio:>6.2f}  {target:<9}{verdict}"
    ).rstrip()
