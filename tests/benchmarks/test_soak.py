"""What benchmarks/soak.py makes of memory and compilations."""

import argparse
from collections import Counter

import pytest

from benchmarks.soak import Sample, judge, measure_memory


def sample(megabytes, **compiled):
    return Sample(seconds=1.0, megabytes=megabytes, compiled=Counter(compiled))


@pytest.mark.parametrize(
    ("family", "last", "status"),
    [
        ("pointwise", sample(1040.0, run=3), 0),
        ("pointwise", sample(1060.0, run=3), 1),  # memory grows
        ("pointwise", sample(1000.0, run=3, train=1), 1),  # something compiles
        ("rankings", sample(1000.0, run=3, train=4), 0),  # a program for each candidate
        ("rankings", sample(1000.0, run=4, train=4), 1),
    ],
)
def test_growth_is_told_and_fails(family, last, status, capsys):
    given = argparse.Namespace(family=family, percent=5.0)
    samples = [sample(1000.0, run=3), sample(1020.0, run=3), last]
    assert judge(given, samples, trained=4) == status
    printed = capsys.readouterr().out
    assert f"{100 * (max(1020.0, last.megabytes) / 1000 - 1):+.1f} %" in printed
    assert "memory 1000 MB then" in printed


def test_memory_is_that_of_this_process():
    before = measure_memory()
    block = bytearray(b"x" * 2**26)
    assert measure_memory() - before == pytest.approx(64, abs=16)
    assert len(block) == 2**26
