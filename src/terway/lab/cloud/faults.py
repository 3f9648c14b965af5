"""What goes wrong, on purpose? Faults are data: which calls, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to the next `count` calls of `action`, after `skip` of them went well.

    With a `code` the call is refused and changes nothing; without, it is carried out. `burns_token`
    makes the refused call's client token useless (IdempotentFailed from then on). `loses_reply`
    closes the connection instead of answering; `delay_s` holds the answer back.
    """

    action: str = "*"
    count: int = 1
    skip: int = 0
    code: str = ""
    status: int = 500
    message: str = "An injected fault."
    burns_token: bool = False
    loses_reply: bool = False
    delay_s: float = 0.0

    def concerns(self, action: str) -> bool:
        """Return whether the fault is about calls of `action`."""
        return self.action in ("*", action)


class Faults:
    """The faults to come, tried in the order they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def take(self, action: str) -> Fault | None:
        """Return what shall happen to this call of `action`, and count it."""
        for index, fault in enumerate(self._faults):
            if not fault.concerns(action):
                continue
            if fault.skip:
                self._faults[index] = replace(fault, skip=fault.skip - 1)
                continue
            if fault.count > 1:
                self._faults[index] = replace(fault, count=fault.count - 1)
            else:
                del self._faults[index]
            return fault
        return None
