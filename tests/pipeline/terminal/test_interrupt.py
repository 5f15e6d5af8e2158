"""Ctrl-C is for the main thread: in another one a search runs on."""

import threading

from autolossgen.pipeline.terminal.interrupt import Interrupt


def test_a_thread_listens_to_no_ctrl_c():
    asked = []

    def work():
        with Interrupt(lambda: None) as interrupt:
            asked.append(interrupt.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
