"""kube-proxy is known by its chains or its process."""

from __future__ import annotations

import pytest

from terway.linux.kube_proxy import has_chains, runs_kube_proxy
from terway.linux.nft_chains import NftChain


@pytest.mark.parametrize(
    ("table", "name", "is_its"),
    [
        ("nat", "KUBE-SERVICES", True),
        ("kube-proxy", "services", True),
        ("nat", "KUBE-MARK-MASQ", False),
        ("terway_policy", "forward", False),
    ],
)
def test_its_chains_are_told_from_others(table, name, is_its):
    chains = [NftChain(family="ip", table=table, name=name)]

    assert has_chains(chains) is is_its


def test_its_process_is_found_by_name(tmp_path):
    (tmp_path / "self").mkdir()
    for number, name in (("1", "systemd"), ("42", "kube-proxy")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "comm").write_text(f"{name}\n")

    assert runs_kube_proxy(tmp_path)
    (tmp_path / "42" / "comm").write_text("kube-apiserver\n")
    assert not runs_kube_proxy(tmp_path)
