"""The log of a console: all lines, none twice, and nothing that is drawn over."""

import pytest
from rich.console import Console
from rich.live import Live

from autolossgen.pipeline.terminal.log import LoggedConsole


def test_the_log_has_the_lines_and_not_what_is_drawn_over(tmp_path):
    console = LoggedConsole(force_terminal=True, width=40, highlight=False)
    console.print("before there is a file")
    with console.keep_log(tmp_path / "run.log"):
        console.print("epoch 1 of 3", end="\r")
        with Live(console=console, auto_refresh=False, transient=True) as live:
            live.update("half way", refresh=True)
        console.print("[bold]done[/bold]")
    console.print("after")
    assert (tmp_path / "run.log").read_text() == "before there is a file\ndone\n"


def test_a_log_goes_on_and_ends_with_an_error(tmp_path):
    def run(number):
        console = LoggedConsole(quiet=True)
        with console.keep_log(tmp_path / "run.log"):
            console.print(f"run {number}")
            raise ValueError(f"broken {number}")

    for number in (1, 2):
        with pytest.raises(ValueError, match="broken"):
            run(number)
    assert (tmp_path / "run.log").read_text() == "run 1\nbroken 1\nrun 2\nbroken 2\n"


def test_a_notebook_shows_each_line_once(monkeypatch, capsys):
    """A console that believes to be in one would show its lines through IPython."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert Console().is_jupyter
    LoggedConsole(force_jupyter=False, force_terminal=False).print("once")
    assert capsys.readouterr().out == "once\n"
