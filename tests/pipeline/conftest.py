"""What tests of the command line share."""

import pytest

from autolossgen.pipeline.main import main
from tests.helpers.run_server import ROOT, Finished


@pytest.fixture
def command(in_process, monkeypatch, capsys):
    """Returns a function that is the command line in this process.

    For what is refused before anything trains: what it computes until then is compiled once.
    """
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        return Finished(main(["run.py", *arguments]), *capsys.readouterr())

    return run
