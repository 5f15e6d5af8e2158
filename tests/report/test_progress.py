"""Progress of the search in a terminal and in a file."""

import io
import re

import pytest
from rich.console import Console

from autolossgen.report.progress import Rates, format_progress, make_progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def console(width=80, terminal=False):
    return Console(width=width, file=io.StringIO(), force_terminal=terminal)


def plain_lines(rows, step, total=10, **options):
    shown, clock = console(), Clock()
    with make_progress(total, shown, clock=clock, **options) as bar:
        for row in rows:
            bar.update(row)
            clock.now += step
    text = shown.file.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    return text.splitlines()[1:]


def test_file_gets_first_last_and_one_every_five_seconds(generation):
    lines = plain_lines([generation(i) for i in range(1, 11)], step=2.0)
    # Updates come at 0, 2, 4, 6, ... 18 seconds.
    assert [line.split()[1] for line in lines] == ["1/10", "4/10", "7/10", "10/10"]
    quick = plain_lines([generation(i) for i in range(1, 11)], step=0.1)
    assert [line.split()[1] for line in quick] == ["1/10", "10/10"]


def test_last_generation_is_shown_when_the_search_is_interrupted(generation):
    shown = console()

    def interrupted():
        with make_progress(10, shown, clock=lambda: 0.0) as bar:
            bar.update(generation(1))
            bar.update(generation(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "2/10" in shown.file.getvalue().splitlines()[-1]


def test_speed_and_time_left_are_those_of_the_last_generations(generation):
    # The first generation compiles for 100 s; from then on one takes 2 s.
    rows = [generation(i, seconds=98.0 + 2.0 * i) for i in range(1, 5)]
    line = plain_lines(rows, step=9.0)[-1]
    assert "256 sampled/s  32 trained/s  0:12 left  best +0.1500" in line


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, "0:24 left"),
        ({"max_seconds": 20.0}, "0:04 left"),
        ({"max_trained": 64 * 5}, "0:04 left"),
        ({"max_seconds": 10.0}, "0:00 left"),
    ],
)
def test_time_left_is_that_of_the_nearest_limit(limits, left, generation):
    # Four generations of 4 s each of ten: 6 · 4 s are left.
    rows = [generation(i) for i in range(1, 5)]
    assert left in plain_lines(rows, step=9.0, **limits)[-1]


def test_unknown_values(generation):
    row = dict.fromkeys(generation(1)) | {"generation": 1}
    (line,) = plain_lines([row], step=1.0)
    assert line == "search  1/10  - sampled/s  - trained/s  - left  best -"


def test_a_resumed_run_may_count_its_seconds_from_zero(generation):
    rows = [generation(5, seconds=300.0), generation(6, seconds=2.0)]
    assert "- left" in plain_lines(rows, step=9.0)[-1]


@pytest.mark.parametrize(("width", "formula_line"), [(80, 1), (130, 0)])
def test_terminal_redraws_in_place(width, formula_line, generation):
    shown = console(width, terminal=True)
    with make_progress(16, shown) as bar:
        bar.update(generation(1))
        bar.update(generation(2))
    text = shown.file.getvalue()
    assert "\x1b[2K" in text
    last = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text.split("\x1b[2K")[-1]).splitlines()
    assert max(map(len, last)) <= width
    assert last[0].startswith("2/16")
    assert "128 sampled/s  16 trained/s  0:56 left  best +0.1000" in last[0]
    assert "max(reciprocal(pred)" in last[formula_line]


def test_hostile_formula_stays_one_line_of_text(generation):
    (line,) = plain_lines([generation(1, best_formula="\x1b[2J[bold]log(\npred)")], step=1.0)
    assert line.endswith("[2J[bold]log( pred)")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_live_line_fits(width, generation, formula):
    line = format_progress(generation(1), 60, Rates(1234.0, 6.44, 3700.0), width)
    assert len(line) <= width
    assert line.startswith("1/60  1,234 sampled/s  6.4 trained/s")
    assert (formula in line) == (width == 200)


def test_no_generations_is_an_error():
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        make_progress(0)


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (2.0, "2.0 trained/s"),
        (0.12, "7.2 trained/min"),
        (0.5, "30 trained/min"),
        (None, "- trained/s"),
    ],
)
def test_a_slow_search_counts_by_the_minute(rate, words, generation):
    assert f"  {words}  " in format_progress(generation(1), 60, Rates(5.0, rate, 60.0), 200)
