"""Puts the page of a run together, and writes it."""

import base64
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from autolossgen.files import write_atomically

from ..run_folder import RunFolder, read_run_folder
from ..views import Views
from .answer import make_answer, make_use
from .parts import Section, Switch, make_note
from .provenance import make_provenance_section
from .searched import make_search_sections
from .tested import make_matrix_section, make_test_sections

_FOLDER = Path(__file__).parent


def write_report(workdir: str | os.PathLike[str], views: Views | None = None) -> Path:
    """Writes ``report.html`` into a run folder and returns its path.

    Of the run's files only ``results.json`` must be there; sections whose file is missing say so.

    Args:
      workdir: the folder of a run.
      views: what is shown of the tested losses besides their results; ``write_page`` in
        ``pipeline/finished/page.py`` makes them. Without them there are no curves and no code.

    Raises:
      ReportError: if the folder or its ``results.json`` is missing or not as documented.
      OSError: if the folder cannot be written; an earlier report is still there.

    Example:
      >>> write_report("runs/ml100k")  # doctest: +SKIP
      PosixPath('runs/ml100k/report.html')
    """
    workdir = Path(workdir)
    path = workdir / "report.html"
    write_atomically(path, _make_page(read_run_folder(workdir), views or {}))
    return path


def _make_page(run: RunFolder, views: Views) -> str:
    is_only = len(run.cells) == 1
    sections = _list_sections(run, views)
    uses = [make_use(cell, views, number) for number, cell in enumerate(run.cells)]
    switches = [part for one in sections for part in one.parts if isinstance(part, Switch)]
    script = _read("copy.js")
    return _get_template().render(
        title=f"AutoLossGen: {run.name}",
        name=run.name,
        heading=" · ".join(cell.title for cell in run.cells) or run.name,
        answers=[make_answer(cell, is_only=is_only) for cell in run.cells],
        uses=[use for use in uses if use is not None],
        sections=sections,
        contents=sections,
        most_panels=max(3, *(len(switch.options) for switch in switches), 3),
        style=Markup(_read("style.css")),
        script=Markup(script),
        policy=_make_policy(script),
    )


def _list_sections(run: RunFolder, views: Views) -> list[Section]:
    search = run.results.get("search")
    sections = []
    if not run.cells:
        note = make_note("results.json lists no tested loss.")
        sections.append(Section("test", "Test", [note]))
    if len(run.cells) > 1:
        sections.append(make_matrix_section(run.cells))
    for number, cell in enumerate(run.cells):
        title = "" if len(run.cells) == 1 else f" {cell.title}"
        sections += make_test_sections(cell, views, run.promotion, key=str(number), title=title)
    sections += make_search_sections(
        run.generations,
        search if isinstance(search, Mapping) else {},
        run.hall_of_fame,
        run.promotion,
    )
    return [*sections, make_provenance_section(run)]


@cache
def _get_template() -> Template:
    # Autoescape: whatever a run folder holds is text, unless this package wrote it as markup.
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["kind"] = lambda part: type(part).__name__.lower()
    return environment.get_template("report.html.j2")


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _make_policy(script: str) -> str:
    """Returns what the page may do: run its own script, and load nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
