"""The kernel tells when somebody touches our table, and of nothing else."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from terway.linux.nfnetlink.tables import open_nft_socket
from terway.linux.table_news import follow_table
from terway.model.nft import AddChain, AddTable

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("netns")]

TABLE = "terway_policy"
WITHIN_S = 10.0


def nft(words: str) -> None:
    subprocess.run(["nft", words], check=True)


async def heard(touched: asyncio.Event) -> None:
    async with asyncio.timeout(WITHIN_S):
        await touched.wait()
    touched.clear()


@pytest.mark.parametrize(
    "deed",
    [
        f"delete table inet {TABLE}",
        f"add table inet {TABLE} {{ flags dormant; }}",
        f"add rule inet {TABLE} forward accept",
        f"delete chain inet {TABLE} forward",
        f"add element inet {TABLE} some {{ 10.0.0.1 }}",
        "flush ruleset",
    ],
)
async def test_what_others_do_to_the_table_is_told(deed):
    nft(f"table inet {TABLE} {{ chain forward {{ }}; set some {{ type ipv4_addr; }}; }}")
    touched = asyncio.Event()

    with follow_table(TABLE, touched):
        nft(deed)

        await heard(touched)


async def test_of_our_own_changes_and_of_other_tables_nothing_is_told():
    touched = asyncio.Event()

    with follow_table(TABLE, touched):
        with open_nft_socket() as sock:
            sock.apply(TABLE, (AddTable(), AddChain("forward")))
        nft(f"table inet others {{ chain forward {{ }}; }}; table inet {TABLE}_not {{ }}")
        nft(f"delete table inet {TABLE}_not")
        await asyncio.sleep(0)
        assert not touched.is_set()

        nft(f"delete table inet {TABLE}")  # so all that came before it has been read

        await heard(touched)


async def test_more_than_there_is_room_for_is_told_as_well():
    nft("table inet others { set some { type ipv4_addr; }; }")
    touched = asyncio.Event()

    with follow_table(TABLE, touched):
        for number in range(8):
            hosts = ", ".join(f"10.{number}.{one // 250}.{one % 250}" for one in range(5000))
            nft(f"add element inet others some {{ {hosts} }}")

        await heard(touched)
