"""Progress of promotion, tuning and test, in a terminal and in a file."""

import io
import re

import pytest
from rich.console import Console

from autolossgen.report.progress import PhaseProgress

SCORES = {"bce": 0.7, "focal": 0.8, "a_loss_with_a_long_name": 0.75, "found-12": 0.6}


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def follow(steps, *, terminal=False, width=80, seconds=6.0):
    """Shows steps that are so many seconds apart; returns what is printed."""
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    with PhaseProgress(console, clock=clock) as progress:
        for step in steps:
            progress(*step)
            clock.now += seconds
    return console.file.getvalue()


def test_a_file_gets_stages_epochs_time_left_and_standings():
    steps = [("tuning", 0, 4, {})]
    steps += [("tuning", k, 4, {"bce": 0.5 + k / 10, "mse": 0.9 - k / 10}) for k in (1, 2)]
    steps += [("test", 0, 9, {}), ("test", 1, 9, {})]
    assert follow(steps).splitlines() == [
        "tuning  compiling",
        "tuning  epoch 1/4  best mse 0.8000, bce 0.6000",
        # One epoch after the first took 6 s, two are left; the best so far is of another epoch.
        "tuning  epoch 2/4  at most 0:12 left  best mse 0.8000, bce 0.7000",
        "test  compiling",
        "test  epoch 1/9",
    ]


def test_a_file_gets_a_line_every_five_seconds_and_the_last():
    lines = follow([("test", k, 9, {}) for k in range(10)], seconds=2.0).splitlines()
    assert [re.search(r"\d/", line)[0] for line in lines[1:]] == ["1/", "4/", "7/", "9/"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_has_one_line_that_fits(width):
    text = follow([("test", k, 100, SCORES) for k in range(3)], terminal=True, width=width)
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "\n", text).split("\n")
    assert max(map(len, lines)) < width
    shown = [line for line in lines if line.strip()]
    assert shown[-1] == shown[-2]  # the last state stays
    assert shown[-1].startswith("test  epoch 2/100  at most 9:48 left")
    assert ("best focal 0.8000, a_loss_with_a_long_name 0.7500" in shown[-1]) == (width > 100)
    assert ("best focal 0.8000" in shown[-1]) == (width > 40)


def test_losses_that_take_turns_share_the_time_left():
    clock, console = Clock(), Console(file=io.StringIO(), width=80)
    with PhaseProgress(console, clock=clock) as progress:
        for number, name in enumerate(("softmax", "bpr", "psl")):
            with progress.part(name, number, 3):
                progress("tuning", 0, 10, {})
                clock.now += 10.0
                progress("tuning", 5, 10, {name: 0.1 * number})
    lines = console.file.getvalue().splitlines()
    # Half of a loss took 10 s, so 2.5 losses take 50 s; one and a half took 20 s.
    assert lines[1] == "tuning of softmax, 1/3  epoch 5/10  at most 0:50 left  best softmax 0.0000"
    assert lines[3].startswith("tuning of bpr, 2/3  epoch 5/10  at most 0:20 left  best bpr 0.1000")
    assert lines[-1].endswith("best psl 0.2000, bpr 0.1000, softmax 0.0000")


def test_a_follower_is_told_the_same():
    told = []
    progress = PhaseProgress(Console(file=io.StringIO()))
    with progress.followed_by(lambda *step: told.append(step)), progress:
        progress("test", 1, 2, SCORES)
    progress("test", 2, 2, SCORES)
    assert told == [("test", 1, 2, SCORES)]


def test_an_interrupt_leaves_the_last_state():
    console = Console(file=io.StringIO(), width=80)
    progress = PhaseProgress(console, clock=lambda: 0.0)

    def interrupted():
        with progress:
            progress("test", 1, 9, {})
            progress("test", 2, 9, {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert console.file.getvalue().splitlines()[-1] == "test  epoch 2/9  at most 0:00 left"
