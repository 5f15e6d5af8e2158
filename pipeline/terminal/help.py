"""The text of ``--help``: what there is to choose from, by name."""

import ast
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from autolossgen import PAIRWISE_LOSSES, POINTWISE_LOSSES
from autolossgen.configs import topk
from autolossgen.configs.command_line import find_shipped_configs
from autolossgen.configs.presets import PRESETS
from autolossgen.controller import POLICIES
from autolossgen.models import MODELS
from autolossgen.training.metric_registry import METRIC_NAMES

WIDTH = 80

USAGE = """\
{0} [--config=CONFIG[:PRESET]] [--config.SECTION.KEY=VALUE ...]
            [--overrides=FILE] [--workdir=FOLDER] [--dry_run]
{0} recommend RUN --user=ID [--k=10]
{0} export RUN [--to=python|torch|latex|json] [--loss=NAME]
{0} compare RUN RUN ...
{0} report RUN [--plots=FOLDER]

--config    name or file of a config; ml100k if left out
--overrides file of keys and values, in YAML or JSON; flags go before it
--workdir   where the run's files go; runs/NAME if left out. The same command
            goes on with a run, or shows a finished one
--dry_run   checks config, data, memory and device, says what would be done and
            how long it would take, and trains nothing
--version   the version
Any key of configs/base.py can be set, as in --config.search.generations=100;
docs/settings.md has them all."""

EXAMPLES = """\
{0} --config=ml100k:smoke
{0} --config=csv --config.data.path=ratings.csv \\
    --config.data.threshold=3
{0} --config=topk --config.data.name=csv \\
    --config.data.path=likes.csv --config.data.label=
{0} recommend runs/csv --user=42 --k=5
{0} export runs/csv --to=torch"""


def make_help(program: str) -> str:
    """Returns the text of ``--help``, at most 80 columns wide.

    Args:
      program: what the command is called.

    Example:
      >>> print(make_help("autolossgen").splitlines()[0])
      autolossgen [--config=CONFIG[:PRESET]] [--config.SECTION.KEY=VALUE ...]
    """
    sections = {
        "Configs": _describe({name: _read_head(file) for name, file in _list_configs()}),
        "Presets": _describe_presets(PRESETS),
        "Presets of topk": _describe_presets(topk.PRESETS),
        "Models (config.model.name)": _list({**MODELS, "package.module:Class": None}),
        "Policies (config.policy.name)": _list(POLICIES),
        "Metrics (config.search.reward)": _list(METRIC_NAMES),
        "Losses of a prediction and its label": _list(POINTWISE_LOSSES),
        "Losses of a positive and its negatives": _list(PAIRWISE_LOSSES),
        "Examples": textwrap.indent(EXAMPLES.format(program), "  "),
    }
    parts = [USAGE.format(program), *(f"{title}:\n{text}" for title, text in sections.items())]
    return "\n\n".join(parts)


def _list_configs() -> Iterable[tuple[str, Path]]:
    return find_shipped_configs().items()


def _describe_presets(presets: Mapping[str, Callable]) -> str:
    return _describe({name: _first_line(preset.__doc__ or "") for name, preset in presets.items()})


def _read_head(file: Path) -> str:
    """Returns the first line of a config's docstring, without importing the config."""
    return _first_line(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _describe(lines: Mapping[str, str]) -> str:
    """Returns a line for each name, wrapped under its description."""
    indent = max(map(len, lines)) + 4
    return "\n".join(
        textwrap.fill(f"  {name}".ljust(indent) + text, WIDTH, subsequent_indent=" " * indent)
        for name, text in lines.items()
    )


def _list(names: Iterable[str]) -> str:
    return textwrap.fill(", ".join(names), WIDTH, initial_indent="  ", subsequent_indent="  ")
