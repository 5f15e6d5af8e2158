"""Runs ``run.py`` in forks of one process that has imported it already.

Importing takes seconds, also of what a run needs at its end, and the tests of the command line
start it often. A line of JSON on stdin starts a run or waits for one; the answer is a line on
stdout. Each run has its own files for stdout and stderr, its own arguments and exit status, and
takes signals, as if started by a shell.
"""

import atexit
import gc
import json
import os
import signal
import sys

import tensorboardX  # noqa: F401

from autolossgen.pipeline import main as command
from autolossgen.pipeline.finished import page  # noqa: F401
from tests.helpers.shared_context import share_mlir_context


def start(request: dict) -> int:
    """Forks, and calls the command line in the child; returns the child's process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70  # an exception that escaped
    try:
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, descriptor)
        sys.stdin.close()
        os.environ |= request["environment"]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = command.main(["run.py", *request["arguments"]])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()  # several processes wait for one another there
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # what Python would tidy up takes a third of a second


def serve() -> None:
    """Answer requests until stdin closes."""
    share_mlir_context()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as in conftest.py
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for pytest
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = start(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
