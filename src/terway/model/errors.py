"""The errors of the project. Callers branch on the class, never on the text.

VpcError
├── UsageError       the caller must change the request; retrying cannot help      CNI 4, 6, 7
├── CapacityError    nothing free now; carries retry_after_s                       CNI 11
├── TransientError   the same call may succeed later                               CNI 11
│   └── ThrottledError   the cloud asks for fewer calls; carries retry_after_s
├── ConflictError    the world is not as the plan assumed; read again, plan again  (never leaves)
└── BugError         an invariant of ours is broken; stop, keep the evidence       CNI 100

Foreign errors (errno, HTTP, cloud codes) are translated once, in the adapter, with
``raise … from``. The message says what was tried, on what, what the other side answered and,
where somebody can act on it, what to do next.
"""


class VpcError(Exception):
    """Any error that the project raises on purpose.

    `code` is the foreign error code where there is one (``"Throttling.User"``, ``"EEXIST"``),
    for logs and for the few callers that tell two refusals of one class apart.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class UsageError(VpcError):
    """The request is wrong and must change: names the field, the value and the remedy.

    `field` is the path of the refused field in the caller's own terms (``"eni_conf.vswitches"``,
    ``"CNI_CONTAINERID"``), empty when the request as a whole is meant.
    """

    def __init__(self, message: str, *, field: str = "", code: str = "") -> None:
        super().__init__(message, code=code)
        self.field = field


class CapacityError(VpcError):
    """Nothing is free now; the same request may succeed in about `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class TransientError(VpcError):
    """The other side failed or cannot be reached; repeating the same call is safe and may help."""


class ThrottledError(TransientError):
    """The other side asks for fewer calls; wait `retry_after_s` seconds before the next."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class ConflictError(VpcError):
    """The world is not as the plan assumed. Read again, plan again; never leaves a loop."""


class BugError(VpcError):
    """An invariant of ours does not hold. Stop, keep the evidence."""
