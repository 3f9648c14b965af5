"""What came before what, on this machine, whatever its clock was set to in between?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in time: seconds since the machine was started, and which start that was.

    `seconds` is CLOCK_BOOTTIME, which nobody can set and which goes on in a suspended machine;
    `boot_id` is the kernel's random name of the start.
    """

    boot_id: str
    seconds: float

    def is_before(self, other: Moment, *, now: Moment) -> bool:
        """Return whether this came before `other`; never when both are the same.

        Every earlier start was before the present one. Of two earlier starts nobody knows the
        order; what was made then is as dead as all that ran, so it counts as before.
        """
        if self.boot_id == other.boot_id:
            return self.seconds < other.seconds
        return self.boot_id != now.boot_id
