"""How terwayd logs: one JSON object a line on stderr, events as constants, facts as keys."""

from __future__ import annotations

import sys

# structlog's console renderer loads `rich` where it is installed: 6 MB that terwayd never uses.
# With the name taken, the import inside structlog fails as if it were not installed.
_is_free = "rich" not in sys.modules
if _is_free:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how `import` spells "not there"
import structlog  # noqa: E402

if _is_free:
    del sys.modules["rich"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_log(level: str) -> None:
    """Send log lines of `level` and above to stderr.

    JSON, because it is read by machines first.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
