"""The help names all that there is, in lines that a terminal shows whole."""

import autolossgen
from autolossgen import PAIRWISE_LOSSES, POINTWISE_LOSSES
from autolossgen.configs.command_line import find_shipped_configs
from autolossgen.configs.presets import PRESETS
from autolossgen.controller import POLICIES
from autolossgen.models import MODELS
from autolossgen.pipeline.main import main
from autolossgen.pipeline.terminal.help import make_help


def test_help_names_all_there_is_in_80_columns():
    text = make_help("autolossgen")
    words = set(text.replace(",", " ").split())
    known = (find_shipped_configs(), PRESETS, MODELS, POLICIES, POINTWISE_LOSSES, PAIRWISE_LOSSES)
    assert {name for names in known for name in names} <= words
    assert {"auc", "ndcg@10", "recommend", "export", "compare", "--dry_run"} <= words
    assert max(map(len, text.splitlines())) <= 80


def test_help_and_version_are_printed(capsys):
    assert main(["run.py", "--help"]) == 0
    assert capsys.readouterr().out.startswith("python run.py [--config")
    assert main(["autolossgen", "--version"]) == 0
    assert capsys.readouterr().out == f"autolossgen {autolossgen.__version__}\n"
