"""The top of the page: the verdict, and the loss to use."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from ..formatting import format_hyper_parameter, format_score, to_one_line
from ..results import Cell, LossResult, format_metric_name
from ..terminal_table import format_test_score
from ..verdict import (
    BEST_BASELINE,
    decide_verdict,
    format_difference,
    format_headline,
    format_user_interval,
    get_best_baseline,
    get_best_found,
    get_best_loss,
    get_winner,
)
from ..views import LossView, Views
from .formulas import format_formula, typeset_lines
from .parts import FormulaLine


class KeyFigure(NamedTuple):
    """A number that the verdict rests on."""

    name: str
    value: str
    note: str = ""
    css_class: str = ""


class Answer(NamedTuple):
    """The verdict on one recommender and data set."""

    headline: str
    figures: Sequence[KeyFigure]


class Use(NamedTuple):
    """The loss to use, ready to be copied."""

    key: str  # letters that no other one has
    title: str
    name: str
    why: str
    formula: Markup
    formulas: Sequence[FormulaLine]
    settings: str
    code: Sequence[tuple[str, str]]  # language and source


def make_answer(cell: Cell, *, is_only: bool) -> Answer:
    """Returns the verdict on a cell, with its figures if there is no other cell."""
    title = "" if is_only else f"{cell.title}: "
    figures = _list_figures(cell) if is_only else []
    return Answer(title + format_headline(cell), figures)


def _list_figures(cell: Cell) -> list[KeyFigure]:
    found, baseline = get_best_found(cell), get_best_baseline(cell)
    metric = format_metric_name(cell.metric)
    figures = [
        KeyFigure(f"test {metric} of {to_one_line(loss.name)}", format_test_score(loss), note)
        for loss, note in ((found, "best found loss"), (baseline, BEST_BASELINE))
        if loss is not None
    ]
    if found is not None and found.comparison is not None:
        mean = format_score(found.comparison.difference.mean, signed=True)
        interval = format_difference(found).removeprefix(mean).strip()
        note = "; ".join(part for part in (interval, format_user_interval(found)) if part)
        word = decide_verdict(found.comparison)
        figures.append(KeyFigure("difference, 95 % intervals", mean, note))
        figures.append(KeyFigure("verdict", word, css_class=word.replace(" ", "-")))
    return figures


def make_use(cell: Cell, views: Views, number: int) -> Use | None:
    """Returns the loss to use of a cell, None without any."""
    loss = get_best_loss(cell)
    if loss is None:
        return None
    view = views.get((loss.model, loss.dataset, loss.name), LossView())
    return Use(
        key=f"code{number}",
        title=cell.title,
        name=("◆ " if loss.found else "") + loss.name,
        why=_explain_choice(cell, loss),
        formula=format_formula(loss.formula),
        formulas=typeset_lines(view.latex, loss.formula, loss.by_label),
        settings=describe_settings(loss),
        code=list(view.code.items()),
    )


def _explain_choice(cell: Cell, loss: LossResult) -> str:
    winner = get_winner(cell)
    if winner is not None and winner is not loss:
        name = to_one_line(winner.name)
        return (
            f", the best loss on validation; {name}, without one, was better there, which decides."
        )
    if loss.found:
        return ", found by the search and better than the best baseline."
    return f", the {BEST_BASELINE}: no found loss is better."


def describe_settings(loss: LossResult) -> str:
    """Returns the settings that a loss was tested with, in one sentence."""
    values: Mapping[str, float | None] = {
        "learning rate": loss.learning_rate,
        "weight decay": loss.weight_decay,
        **loss.constants,
        "epochs": loss.epochs,
    }
    known = [
        f"{name} {format_hyper_parameter(value)}"
        for name, value in values.items()
        if value is not None
    ]
    if not known:
        return ""
    return f"Settings that validation chose: {', '.join(known)}."
