"""What tests of the command line share."""

import gc

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


@pytest.fixture(scope="module")
def in_process(environment):
    """Lets runs be called in this process, with the compiled programs that all tests share."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(gc, "freeze", lambda: None)  # other tests look for what is alive
        yield
