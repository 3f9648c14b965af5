"""The same seed gives the same run, byte by byte, in every process (bug class 57)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from terway.lab.faults.generate import generate
from terway.lab.faults.run import run_schedule

SEEDS = range(300, 324)
PRINT_DIGESTS = f"""
from terway.lab.faults.generate import generate
from terway.lab.faults.run import run_schedule
for seed in range({SEEDS.start}, {SEEDS.stop}):
    print(run_schedule(generate(seed)).digest)
"""


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_with_another_order_of_sets_runs_the_same(hash_seed):
    here = [run_schedule(generate(seed)).digest for seed in SEEDS]

    there = subprocess.run(
        [sys.executable, "-c", PRINT_DIGESTS],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )

    assert there.stdout.split() == here
