"""Which values do the settings of a namespace in memory have, when links come, go and are renamed?

As in the kernel: a new link takes those of "default" (inetdev_init, ipv6_add_dev), and some that
are set for "all" are set for "default" and every link (inet_forward_change,
addrconf_forward_change, addrconf_disable_change).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from terway.model.network import Sysctl

_FORWARD = "net/ipv4/ip_forward"
# Setting one of these sets it everywhere; {} is where.
_EVERYWHERE = {
    _FORWARD: "net/ipv4/conf/{}/forwarding",
    "net/ipv4/conf/all/forwarding": "net/ipv4/conf/{}/forwarding",
    "net/ipv6/conf/all/forwarding": "net/ipv6/conf/{}/forwarding",
    "net/ipv6/conf/all/disable_ipv6": "net/ipv6/conf/{}/disable_ipv6",
}


@dataclass(slots=True)
class Settings:
    """What was set in one namespace, by path; of other settings nothing is known."""

    values: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, value: str, links: Iterable[str]) -> None:
        """Set one; `links` are the links that are there."""
        self.values[path] = value
        if path in _EVERYWHERE:
            for where in ("all", "default", *links):
                self.values[_EVERYWHERE[path].format(where)] = value

    def inherit(self, link: str) -> None:
        """Give a new link the settings of "default"."""
        self.values |= self._moved("default", link)

    def rename(self, link: str, new_link: str) -> None:
        """Let a link that has another name now keep its settings."""
        kept = self._moved(link, new_link)
        self.forget(link)
        self.values |= kept

    def forget(self, link: str) -> None:
        """Drop the settings of a link that is gone."""
        for path in self._paths_of(link):
            del self.values[path]

    def read(self, paths: Iterable[str]) -> tuple[Sysctl, ...]:
        """Return those of `paths` that are known."""
        found = (path for path in paths if path in self.values)
        return tuple(Sysctl(path=path, value=self.values[path]) for path in found)

    def _moved(self, source: str, target: str) -> dict[str, str]:
        return {
            path.replace(f"/{source}/", f"/{target}/", 1): self.values[path]
            for path in self._paths_of(source)
        }

    def _paths_of(self, where: str) -> list[str]:
        return list(_about(self.values, where))


def _about(paths: Iterable[str], where: str) -> Iterator[str]:
    starts = f"net/ipv4/conf/{where}/", f"net/ipv6/conf/{where}/"
    return (path for path in paths if path.startswith(starts))
