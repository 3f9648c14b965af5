"""Where terwayd finds and keeps its files. The names are the original's; other tools know them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """All paths of one terwayd. In tests, and where a node is not the machine, under a root."""

    config: Path  # the file eni_conf; the other keys of the ConfigMap lie beside it
    run_dir: Path
    state_dir: Path
    cni_conf_dir: Path
    cni_bin_dir: Path
    addon_secret: Path  # a mounted access key, if there is one
    pins: Path  # in a BPF file system: what of the data path in eBPF outlives terwayd

    @property
    def socket(self) -> Path:
        """Return the socket that the plugin connects to."""
        return self.run_dir / "cni.socket"

    @property
    def lock(self) -> Path:
        """Return the file that the one running terwayd holds locked."""
        return self.run_dir / "terwayd.lock"

    @property
    def last_error(self) -> Path:
        """Return the file that says why terwayd is down, if it ended by itself."""
        return self.run_dir / "last_error"

    @property
    def journal(self) -> Path:
        """Return the file that survives a crash."""
        return self.state_dir / "terway.db"

    @property
    def spool(self) -> Path:
        """Return the folder of notes that the plugin leaves while terwayd is away."""
        return self.state_dir / "spool"

    @property
    def conflist(self) -> Path:
        """Return the file whose appearance tells the runtime that the node has a network."""
        return self.cni_conf_dir / "10-terway.conflist"

    def make_folders(self) -> None:
        """Make the folders that are terwayd's own, closed to everybody else. Idempotent."""
        for folder in (self.run_dir, self.state_dir, self.spool):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)


def paths_under(
    root: Path = Path("/"),
    *,
    config: str = "/etc/eni/eni_conf",
    run_dir: str = "/var/run/eni",
    state_dir: str = "/var/lib/cni/terway",
) -> Paths:
    """Return the paths of a terwayd whose file system begins at `root`."""
    return Paths(
        config=root / config.lstrip("/"),
        run_dir=root / run_dir.lstrip("/"),
        state_dir=root / state_dir.lstrip("/"),
        cni_conf_dir=root / "etc/cni/net.d",
        cni_bin_dir=root / "opt/cni/bin",
        addon_secret=root / "var/alibaba-addon-secret",
        pins=root / "sys/fs/bpf/terway",
    )
