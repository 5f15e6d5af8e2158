"""The first Ctrl-C or SIGTERM is noted, the second stops at once; other threads are not asked."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from autolossgen.pipeline.terminal.interrupt import SIGNALS, Interrupt
from tests.helpers.run_server import ROOT

# A call that trains lets go of Python's lock, and Python sees no signal until it returns.
BUSY = """
import hashlib
from autolossgen.pipeline.terminal.interrupt import Interrupt

with Interrupt(lambda number: print("noted", number, flush=True), exits=True) as interrupt:
    interrupt.wait()
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)
"""


def test_a_thread_listens_to_no_ctrl_c():
    asked = []

    def work():
        with Interrupt(lambda number: None) as interrupt:
            interrupt.wait()
            asked.append(interrupt.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]


@pytest.mark.parametrize("number", SIGNALS)
def test_before_the_run_begins_it_stops_at_once(number):
    with pytest.raises(KeyboardInterrupt), Interrupt(lambda number: None) as interrupt:
        signal.raise_signal(number)
    assert (interrupt.asked, interrupt.number) == (False, number)


@pytest.mark.parametrize("exits", [False, True])
@pytest.mark.parametrize("number", SIGNALS)
def test_later_the_first_is_noted_and_the_handlers_come_back(number, exits):
    before, noted = signal.getsignal(number), []
    with Interrupt(noted.append, exits=exits) as interrupt:
        interrupt.wait()
        signal.raise_signal(number)
        end = time.monotonic() + 10
        while not noted and time.monotonic() < end:  # the thread that watches says so
            time.sleep(0.01)
        assert (interrupt.asked, noted) == (True, [number])
    assert signal.getsignal(number) == before


def test_the_second_is_an_interrupt_where_the_process_is_not_ours():
    with Interrupt(lambda number: None) as interrupt:
        interrupt.wait()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_the_second_ends_the_process_in_the_middle_of_a_long_call():
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    with process:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == f"noted {signal.SIGINT}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
