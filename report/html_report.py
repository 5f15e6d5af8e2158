"""The HTML report of a run: one file that needs no other file and no network."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autolossgen.files import write_atomically

from .formatting import format_count, format_duration, format_hyper_parameter, format_score
from .html_elements import (
    Html,
    format_formula,
    join_html,
    make_element,
    make_page,
    make_table,
    trust_html,
)
from .results import Cell, LossResult, finite_or_none, format_metric_name
from .run_folder import RunFolder, read_run_folder
from .terminal_table import format_test_score
from .transfer_matrix import make_matrix_rows
from .verdict import format_difference, format_headline, format_user_interval, format_verdict

BELOW_REFERENCE = "below_baseline"
"""Key of the funnel's last stage: trained candidates that did worse than the reference loss."""

_MATRIX_NOTE = (
    "The test metric, its difference to the baseline that is best there on validation, the 95 % "
    "intervals of that difference over seeds and over users, and the verdict that they allow."
)
_TEST_NOTE = (
    "◆ found by the search. lr: learning rate, wd: weight decay; these and the number of epochs "
    "were chosen for each loss on validation. ± is half the 95 % interval. Differences are paired. "
    "A loss is better or worse only if 0 is outside the interval of its difference over seeds and, "
    "where it is given, outside the one over users."
)
_FUNNEL_NOTE = (
    "Filters are in the order in which they are applied, the cheapest first. Protected: the "
    "formula without the protection of its operators has no value, or another gradient; such a "
    "loss is not what its formula says. Below the reference: "
    "trained candidates with a lower reward than the reference loss."
)
_HALL_OF_FAME_NOTE = (
    "Score: gain less generation.parsimony for each unit of complexity; it decides the rank. "
    "Gain: reward beyond that of the reference loss, trained in the same generation. "
    "Check: share of a fine grid of predictions and labels, or of positives and negatives, "
    "on which the gradient points the right way; losses that fail it are not listed. Front: no "
    "loss that is at most as long has a higher gain, and no shorter one has the same gain. "
    "Twin: the baseline that has the same gradient. Outcome: what promotion, which trains losses "
    "from scratch for more and more epochs, made of it."
)
_HALL_OF_FAME_COLUMNS = (
    *("rank", "formula", "complexity", "score", "reward", "gain", "generation"),
    *("check", "front", "twin", "outcome"),
)


def write_report(workdir: str | os.PathLike[str]) -> Path:
    """Writes ``report.html`` into a run folder and returns its path.

    Of the run's files only ``results.json`` must be there; sections whose file is missing say so.

    Args:
      workdir: the folder of a run.

    Raises:
      ReportError: if the folder or its ``results.json`` is missing or not as documented.
      OSError: if the folder cannot be written; an earlier report is still there.

    Example:
      >>> write_report("runs/ml100k")  # doctest: +SKIP
      PosixPath('runs/ml100k/report.html')
    """
    workdir = Path(workdir)
    path = workdir / "report.html"
    write_atomically(path, _make_report(read_run_folder(workdir)))
    return path


def _make_report(run: RunFolder) -> str:
    search = run.results.get("search")
    search = search if isinstance(search, Mapping) else {}
    sections = [_make_header(run)]
    if not run.cells:
        sections.append(_make_section("Test", _make_note("results.json lists no tested loss.")))
    if len(run.cells) > 1:
        sections.append(_make_matrix_section(run.cells))
    sections += [_make_test_section(cell, index) for index, cell in enumerate(run.cells)]
    sections += [
        _make_search_section(run.generations, search),
        _make_funnel_section(run.generations, search),
        _make_hall_of_fame_section(run.hall_of_fame),
        _make_setup_section(run),
    ]
    return make_page(f"AutoLossGen: {run.name}", join_html(sections))


def _make_header(run: RunFolder) -> Html:
    headlines = []
    for cell in run.cells:
        title = f"{cell.title}: " if len(run.cells) > 1 else ""
        headlines.append(make_element("p", title + format_headline(cell), css_class="headline"))
    subject = " · ".join(cell.title for cell in run.cells)
    return make_element(
        "header",
        make_element("p", f"AutoLossGen · {run.name}", css_class="muted"),
        make_element("h1", subject or run.name),
        *headlines,
    )


def _make_matrix_section(cells: Sequence[Cell]) -> Html:
    header = ["loss", *(f"{cell.title}: {format_metric_name(cell.metric)}" for cell in cells)]
    rows = make_matrix_rows(cells)
    classes = ["found" if row[0].startswith("◆") else "" for row in rows]
    return _make_section(
        "Every loss on every model and data set",
        make_table(header, rows, row_classes=classes),
        _make_note(_MATRIX_NOTE),
    )


def _make_test_section(cell: Cell, index: int) -> Html:
    from .plots import plot_test_scores  # matplotlib takes half a second, and a run needs it last

    metric = format_metric_name(cell.metric)
    header = ["loss", "formula", "lr", "wd", "epochs", f"valid {metric}", f"test {metric}"]
    header += ["to the best baseline [95 %]", "verdict"]
    return _make_section(
        f"Test: {cell.title}",
        make_table(
            header,
            [_make_test_row(cell, loss) for loss in cell.losses],
            right_columns=(2, 3, 4, 5, 6),
            row_classes=["found" if loss.found else "" for loss in cell.losses],
        ),
        _make_note(_TEST_NOTE),
        _make_figure(
            plot_test_scores(cell, f"score{index}"),
            f"Test {metric} by loss: ◆ found, ● baseline; dashed: the best baseline.",
            missing=f"No test {metric} is known, so there is no plot.",
        ),
    )


def _make_test_row(cell: Cell, loss: LossResult) -> list[Html | str]:
    verdict = format_verdict(cell, loss)
    return [
        f"◆ {loss.name}" if loss.found else loss.name,
        _format_formula_cell(loss),
        format_hyper_parameter(loss.learning_rate),
        format_hyper_parameter(loss.weight_decay),
        format_hyper_parameter(loss.epochs),
        format_score(loss.valid_score),
        format_test_score(loss),
        _format_difference_cell(loss),
        make_element("span", verdict, css_class=f"verdict {verdict.replace(' ', '-')}"),
    ]


def _format_formula_cell(loss: LossResult) -> Html:
    """Returns the formula, and of a found loss also what it is for a like and for a dislike."""
    lines = loss.by_label.items() if loss.found else ()
    return join_html(
        [
            format_formula(loss.formula),
            *(
                make_element("small", f"{label}: ", format_formula(formula), css_class="by-label")
                for label, formula in lines
            ),
        ]
    )


def _format_difference_cell(loss: LossResult) -> Html | str:
    user_interval = format_user_interval(loss)
    if not user_interval:
        return format_difference(loss)
    return make_element("span", format_difference(loss), make_element("small", user_interval))


def _make_search_section(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> Html:
    if not generations:
        why = "so there is no curve" if search else "so it ran without a search"
        return _make_section(
            "Search", _make_note(f"This run has no readable metrics.jsonl, {why}.")
        )
    from .plots import plot_rewards  # as above

    last = generations[-1]
    sampled, trained, seconds = (
        finite_or_none(last.get(column) if search.get(key) is None else search[key])
        for key, column in (
            ("sampled", "sampled_total"),
            ("trained", "trained_total"),
            ("seconds", "seconds"),
        )
    )
    facts = (
        f"{format_count(len(generations))} generations, "
        f"{format_count(sampled)} candidates sampled, "
        f"{format_count(trained)} trained, in {format_duration(seconds)}."
    )
    return _make_section(
        "Search",
        make_element("p", facts),
        _make_figure(
            plot_rewards(generations, "reward"),
            "Reward over the number of candidates trained.",
            missing="No generation has a reward, so there is no curve.",
        ),
    )


def _make_funnel_section(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> Html:
    title = "What became of the candidates"
    funnel = _sum_funnel(generations, search)
    below = funnel.get(BELOW_REFERENCE, 0)  # these are among the trained ones
    sampled = finite_or_none(search.get("sampled")) or sum(funnel.values()) - below
    if not funnel or not sampled:
        return _make_section(
            title, _make_note("No candidates were counted: this run has no search.")
        )
    rows: list[list[Html | str]] = [["sampled", "", format_count(sampled), *_make_bar(1.0)]]
    left = sampled
    for stage, count in funnel.items():
        passed = stage == "trained"
        left = count if passed else left - count
        name = "below the reference" if stage == BELOW_REFERENCE else stage.replace("_", " ")
        removed = "" if passed else format_count(count)
        rows.append([name, removed, format_count(left), *_make_bar(left / sampled)])
    return _make_section(
        title,
        make_table(("stage", "stopped here", "left", "share", ""), rows, right_columns=(1, 2, 3)),
        _make_note(_FUNNEL_NOTE),
    )


def _sum_funnel(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the funnel of the whole search: that of the results, or the sum over generations."""
    funnel = _read_counts(search.get("funnel"))
    if not funnel:
        for row in generations or ():
            for stage, count in _read_counts(row.get("funnel")).items():
                funnel[stage] = funnel.get(stage, 0) + count
    return funnel


def _read_counts(funnel: Any) -> dict[str, float]:
    items = funnel.items() if isinstance(funnel, Mapping) else ()
    return {str(stage): count for stage, count in items if finite_or_none(count) is not None}


def _make_bar(share: float) -> tuple[str, Html]:
    share = min(max(share, 0.0), 1.0)
    style = f"width:{100 * share:.3f}%"
    bar = trust_html(f'<div class="track"><div class="bar" style="{style}"></div></div>')
    return f"{100 * share:.3g} %", bar


def _make_hall_of_fame_section(rows: Sequence[Mapping[str, str]] | None) -> Html:
    title = "Hall of fame"
    if rows is None:
        return _make_section(title, _make_note("This run has no readable hall_of_fame.csv."))
    if not rows:
        return _make_section(
            title, _make_note("The hall of fame is empty: no candidate was good enough.")
        )
    from .plots import plot_pareto_front  # as above

    return _make_section(
        title,
        make_table(
            _HALL_OF_FAME_COLUMNS,
            [
                [_format_hall_entry(key, row.get(key, "")) for key in _HALL_OF_FAME_COLUMNS]
                for row in rows
            ],
            right_columns=(0, 2, 3, 4, 5, 6, 7),
        ),
        _make_note(_HALL_OF_FAME_NOTE),
        _make_figure(
            plot_pareto_front(rows, "front"),
            "Gain of the losses over their complexity; ◆ the front.",
            missing="No gain is known, so there is no plot of gain over complexity.",
        ),
    )


def _format_hall_entry(key: str, value: str) -> Html | str:
    if key == "formula":
        return format_formula(value)
    if key in ("score", "reward", "gain", "check"):
        try:
            return format_score(finite_or_none(float(value)))
        except ValueError:
            return value
    if key == "front":
        return {"true": "yes", "false": "no"}.get(value.lower(), value)
    return value


def _make_setup_section(run: RunFolder) -> Html:
    seeds = sorted({seed for cell in run.cells for loss in cell.losses for seed in loss.seeds})
    environment = run.results.get("environment")
    return _make_section(
        "How it was run",
        make_element("p", f"Seeds of the test: {', '.join(map(str, seeds))}.") if seeds else "",
        make_element("h3", "Environment"),
        _make_values_table(environment, "results.json does not say where the run took place."),
        make_element("h3", "Configuration"),
        _make_values_table(run.config, "This run has no readable config.json."),
    )


def _make_values_table(values: Any, missing: str) -> Html:
    if not isinstance(values, Mapping) or not values:
        return _make_note(missing)
    rows = [[make_element("code", key), value] for key, value in _flatten(values)]
    return make_element(
        "details",
        make_element("summary", f"{len(rows)} values"),
        make_table(("name", "value"), rows),
        attributes=" open" if len(rows) <= 12 else "",
    )


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


def _make_section(title: str, *content: Html | str) -> Html:
    return make_element("section", make_element("h2", title), *content)


def _make_note(text: str) -> Html:
    return make_element("p", text, css_class="muted")


def _make_figure(svg: str | None, caption: str, *, missing: str) -> Html:
    if svg is None:
        return _make_note(missing)
    return make_element(
        "figure", trust_html(svg), make_element("figcaption", caption, css_class="muted")
    )
