"""What does terway-cli's exit code tell a script?"""

from __future__ import annotations

OK = 0
FOUND = 1  # a finding, a difference, a hop that fails, a probe without an answer
USAGE = 2  # as click's own
CANNOT_REACH = 3  # what was asked about does not answer; nothing is known
INTERRUPTED = 130  # by Ctrl-C, as shells have it
