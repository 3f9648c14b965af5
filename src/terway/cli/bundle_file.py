"""Which files are in a support bundle, and what is in one of them?"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from terway.model.errors import UsageError

SNAPSHOT_NAME = "snapshot.json"
METRICS_NAME = "terwayd-metrics.txt"


def read_bundle_file(path: Path, name: str) -> bytes | None:
    """Return a file of a bundle, None when it has none. Raises UsageError for what is no bundle."""
    try:
        with tarfile.open(path) as archive:
            names = [one for one in archive.getnames() if one.endswith(f"/{name}")]
            member = archive.extractfile(names[0]) if names else None
            return member.read() if member else None
    except (EOFError, zlib.error) as error:
        raise damaged(path, error) from error
    except tarfile.TarError as error:  # it names each compression that it tried, in lines
        text = f"--bundle {path}: it is no tar.gz, or cut off or damaged; copy it once more"
        raise UsageError(text, field="--bundle") from error
    except OSError as error:
        raise UsageError(f"--bundle {path}: {error.strerror or error}", field="--bundle") from error


def damaged(path: Path, error: Exception) -> UsageError:
    """Return the error for a bundle of which a part cannot be read."""
    text = f"--bundle {path}: it is cut off or damaged ({error}); copy it once more"
    return UsageError(text, field="--bundle")
