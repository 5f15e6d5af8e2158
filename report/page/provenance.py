"""The last section: how the run came about, and where its files are."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ..formatting import format_duration
from ..results import finite_or_none
from ..run_folder import RunFolder
from .parts import (
    Code,
    Folded,
    Heading,
    Link,
    Links,
    Part,
    Row,
    Section,
    Table,
    Text,
    make_note,
)

_FILES = {
    "README.md": "what won, and how to use it",
    "results.json": "every tested loss, all figures",
    "results.csv": "the same as a table",
    "matrix.csv": "every loss on every model and data set",
    "hall_of_fame.csv": "the best losses of the search",
    "promotion.json": "how they did when they trained for longer",
    "metrics.jsonl": "a line for each generation of the search",
    "config.json": "all settings",
    "data.json": "the fingerprint of the data",
    "run.log": "what the console said",
    "recommender": "the recommender, trained on all data",
}


def make_provenance_section(run: RunFolder) -> Section:
    """Returns the command, data, times, environment, settings and files of a run."""
    seeds = sorted({seed for cell in run.cells for loss in cell.losses for seed in loss.seeds})
    environment = run.results.get("environment")
    parts: list[Part] = []
    if run.command:
        parts += [Heading("Command"), Code("Command", run.command)]
    if seeds:
        parts.append(Text(f"Seeds of the test: {', '.join(map(str, seeds))}."))
    parts += [Heading("Time of each phase"), *_list_times(run.results.get("seconds"))]
    parts += [
        Heading("Data"),
        _fold_values("Fingerprint of the data", run.data, "This run keeps no fingerprint."),
        Heading("Environment"),
        _fold_values(
            "Environment", environment, "results.json does not say where the run took place."
        ),
        Heading("Configuration"),
        _fold_values("Configuration", run.config, "This run has no readable config.json."),
    ]
    links = [Link(name, quote(name), note) for name, note in _FILES.items() if name in run.files]
    if links:
        parts += [Heading("Files"), Links(links)]
    return Section("setup", "How it was run", parts)


def _list_times(seconds: Any) -> list[Part]:
    items = seconds.items() if isinstance(seconds, Mapping) else ()
    known = {str(phase): time for phase, x in items if (time := finite_or_none(x)) is not None}
    if not known:
        return [make_note("results.json does not say how long each phase took.")]
    rows = [Row([phase, format_duration(time)]) for phase, time in known.items()]
    rows.append(Row(["all", format_duration(sum(known.values()))]))
    return [Table("Time of each phase", ("phase", "time"), rows, right=(1,))]


def _fold_values(title: str, values: Any, missing: str) -> Part:
    if not isinstance(values, Mapping) or not values:
        return make_note(missing)
    rows = [Row([Markup("<code>{}</code>").format(key), value]) for key, value in _flatten(values)]
    table = Table(title, ("name", "value"), rows)
    return Folded(f"{len(rows)} values", table, is_open=len(rows) <= 12)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _format_value(value)))
    return rows


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)
