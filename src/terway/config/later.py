"""Which of the keys that are there do nothing, and what does that mean for the user?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.config.fields import Caution, Fields
from terway.config.keys import FLAGS_WITHOUT_EFFECT, OTHERS_WITHOUT_EFFECT

_GONE = ("enable_eip_pool", "enable_eip_migrate", "allow_eip_rob")
_WHY = {
    "enable_eni_trunking": "this release gives every pod an address of a shared ENI",
    "enable_erdma": "RDMA interfaces are left to their own controller",
    "enable_ip_prefix": "addresses are assigned one by one",
    "credential_path": "encrypted token files are not read; without access_key, or a secret "
    "mounted at /var/alibaba-addon-secret, the keys are those of the instance's RAM role",
    "ipam_type": "addresses are managed by the node itself",
    "prefix": "nothing ever read it",
    "rate_limit": "one budget of calls adapts to the cloud's throttling",
    "backoff_override": "waits double from 1 s to 60 s",
    "idle_ip_reclaim_jitter_factor": "each node reclaims at its own time already",
}


def warn_ineffective(fields: Fields) -> tuple[Caution, ...]:
    """Return a warning for each key that is set and changes nothing."""
    return tuple(_warnings(fields))


def _warnings(fields: Fields) -> Iterator[Caution]:
    for key in FLAGS_WITHOUT_EFFECT:
        if fields.has(key) and fields.text_of(key) != "false":
            yield _warning(fields, key)
    for key in OTHERS_WITHOUT_EFFECT:
        if fields.has(key) and fields.text_of(key) not in ('""', "0", "[]", "{}"):
            yield _warning(fields, key)


def _warning(fields: Fields, key: str) -> Caution:
    if key in _GONE:
        text = "elastic IPs are given by another component: remove it"
    else:
        text = f"has no effect: {_WHY.get(key, 'not part of this release')}"
    return Caution(field=fields.path(key), text=text)
