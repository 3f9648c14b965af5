"""What a limit becomes: how much may pass at once, and how much may wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terway.datapath.shaping import token_bucket

_LARGEST_FRAME = 9000 + 14
_LARGEST_SEGMENT = 65_536 + 14  # what TSO and GRO make of many frames
rates = st.integers(min_value=1, max_value=12_500_000_000)


@given(rates)
def test_every_frame_fits_into_the_burst_and_a_burst_into_the_queue(rate):
    bucket = token_bucket("eth0", rate)

    assert bucket.burst_bytes >= _LARGEST_FRAME
    assert bucket.limit_bytes >= bucket.burst_bytes
    assert bucket.rate_bytes_s == rate


@given(rates)
def test_what_passes_at_once_is_a_millisecond_or_a_frame_so_a_second_is_within_a_tenth(rate):
    bucket = token_bucket("eth0", rate)

    assert bucket.burst_bytes <= max(rate / 1000 + 1, 10_500)


@pytest.mark.parametrize("gbit", [0.6, 1, 2, 5, 10])
def test_no_segment_is_cut_where_cutting_would_cost(gbit):
    assert token_bucket("eth0", int(gbit * 125_000_000)).burst_bytes >= _LARGEST_SEGMENT
