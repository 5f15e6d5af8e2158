"""The report of a run: one HTML file that needs nothing else and no network."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autolossgen.files import write_atomically

from .formatting import format_count, format_duration, format_number, format_score
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

BELOW = "below_baseline"
"""The last stage of the funnel: how many of those that were trained did worse than the baseline."""


def write_report(workdir: str | os.PathLike[str]) -> Path:
    """Write `report.html` into a run folder and return its path.

    The page is written beside its place and moved there: a report that was readable stays so.
    Of the run's files only `results.json` has to be there; sections whose file is missing say so.

    Raises:
        ReportError: when the folder or its `results.json` is missing or not as documented.
        OSError: when the folder cannot be written.

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
    sections = [
        *([_matrix_section(run.cells)] if len(run.cells) > 1 else []),
        *(_test_section(cell, index) for index, cell in enumerate(run.cells)),
        _search_section(run.generations, search),
        _funnel_section(run.generations, search),
        _hall_of_fame_section(run.hall_of_fame),
        _how_section(run),
    ]
    if not run.cells:
        sections.insert(0, _section("Test", _note("results.json lists no tested loss.")))
    title = f"AutoLossGen: {run.name}"
    return make_page(title, join_html([_header(run), *sections]))


def _header(run: RunFolder) -> Html:
    lines = []
    for cell in run.cells:
        where = f"{cell.title}: " if len(run.cells) > 1 else ""
        lines.append(make_element("p", where + format_headline(cell), cls="headline"))
    subject = " · ".join(cell.title for cell in run.cells)
    return make_element(
        "header",
        make_element("p", f"AutoLossGen · {run.name}", cls="muted"),
        make_element("h1", subject or run.name),
        *lines,
    )


def _matrix_section(every: Sequence[Cell]) -> Html:
    header = ["loss", *(f"{cell.title}: {format_metric_name(cell.metric)}" for cell in every)]
    rows = make_matrix_rows(every)
    classes = ["found" if row[0].startswith("◆") else "" for row in rows]
    return _section(
        "Every loss on every model and data set",
        make_table(header, rows, row_classes=classes),
        _note(
            "Test metric, its difference to the baseline that is best there on validation, the "
            "95 % intervals of that over seeds and over users, and what they allow to say."
        ),
    )


def _test_section(cell: Cell, index: int) -> Html:
    metric = format_metric_name(cell.metric)
    header = ("loss", "formula", "lr", "wd", "epochs", f"valid {metric}", f"test {metric}")
    header += ("to the best baseline [95 %]", "verdict")
    rows = [_test_row(cell, loss) for loss in cell.losses]
    classes = ["found" if loss.found else "" for loss in cell.losses]
    from .plots import plot_test_scores  # matplotlib takes half a second, and a run needs it last

    plot = plot_test_scores(cell, f"score{index}")
    return _section(
        f"Test: {cell.title}",
        make_table(header, rows, right=(2, 3, 4, 5, 6), row_classes=classes),
        _note(
            "◆ found by the search. lr: learning rate, wd: weight decay; both and the epochs were "
            "chosen for each loss on validation. ± is half the 95 % interval. "
            "Differences are paired; a loss is better or worse only if 0 is outside their interval "
            "over seeds and, where it is given, outside that over users."
        ),
        _figure(plot, f"Test {metric} by loss; ◆ found, ● baseline, dashed: the best baseline.")
        if plot
        else _note(f"No test {metric} is known, so there is no plot."),
    )


def _test_row(cell: Cell, loss: LossResult) -> list[Html | str]:
    word = format_verdict(cell, loss)
    return [
        f"◆ {loss.name}" if loss.found else loss.name,
        format_formula(loss.formula),
        format_number(loss.learning_rate),
        format_number(loss.weight_decay),
        format_number(loss.epochs),
        format_score(loss.valid_score),
        format_test_score(loss),
        _difference_cell(loss),
        make_element("span", word, cls=f"verdict {word.replace(' ', '-')}"),
    ]


def _difference_cell(loss: LossResult) -> Html | str:
    over_users = format_user_interval(loss)
    if not over_users:
        return format_difference(loss)
    return make_element("span", format_difference(loss), make_element("small", over_users))


def _search_section(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> Html:
    title = "Search"
    if not generations:
        why = "so there is no curve" if search else "so it ran without a search"
        return _section(title, _note(f"This run has no readable metrics.jsonl, {why}."))
    last = generations[-1]
    sampled, trained, seconds = (
        finite_or_none(last.get(written) if search.get(key) is None else search[key])
        for key, written in (
            ("sampled", "sampled_total"),
            ("trained", "trained_total"),
            ("seconds", "seconds"),
        )
    )
    facts = (
        f"{format_count(len(generations))} generations, {format_count(sampled)} candidates sampled, "
        f"{format_count(trained)} trained, in {format_duration(seconds)}."
    )
    from .plots import plot_rewards  # as above

    plot = plot_rewards(generations, "reward")
    figure = (
        _figure(plot, "Reward over the candidates trained.")
        if plot
        else _note("No generation has a reward, so there is no curve.")
    )
    return _section(title, make_element("p", facts), figure)


def _funnel_section(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> Html:
    title = "What became of the candidates"
    funnel = _counts(search.get("funnel"))
    if not funnel:
        for row in generations or ():
            for stage, value in _counts(row.get("funnel")).items():
                funnel[stage] = funnel.get(stage, 0) + value
    below = funnel.get(BELOW, 0)  # of those that were trained
    sampled = finite_or_none(search.get("sampled")) or sum(funnel.values()) - below
    if not funnel or not sampled:
        return _section(title, _note("No candidates were counted: this run has no search."))
    rows: list[list[Html | str]] = [["sampled", "", format_count(sampled), *_bar(1.0)]]
    left = sampled
    for stage, value in funnel.items():
        kept = stage == "trained"
        left = value if kept else left - value
        removed = "" if kept else format_count(value)
        rows.append([stage.replace("_", " "), removed, format_count(left), *_bar(left / sampled)])
    return _section(
        title,
        make_table(("stage", "stopped here", "left", "share", ""), rows, right=(1, 2, 3)),
        _note("Filters in the order in which they are applied, the cheapest first."),
    )


def _counts(funnel: Any) -> dict[str, float]:
    items = funnel.items() if isinstance(funnel, Mapping) else ()
    return {str(stage): value for stage, value in items if finite_or_none(value) is not None}


def _bar(share: float) -> tuple[str, Html]:
    share = min(max(share, 0.0), 1.0)
    percent = f"{100 * share:.3g} %"
    bar = trust_html(
        f'<div class="track"><div class="bar" style="width:{100 * share:.3f}%"></div></div>'
    )
    return percent, bar


def _hall_of_fame_section(rows: Sequence[Mapping[str, str]] | None) -> Html:
    title = "Hall of fame"
    if rows is None:
        return _section(title, _note("This run has no readable hall_of_fame.csv."))
    if not rows:
        return _section(title, _note("The hall of fame is empty: no candidate was good enough."))
    header = ("rank", "formula", "complexity", "reward", "gain", "generation")
    header += ("check", "sound", "front", "twin", "promoted")
    body = [[_fame_cell(key, row.get(key, "")) for key in header] for row in rows]
    from .plots import plot_pareto_front  # as above

    plot = plot_pareto_front(rows, "front")
    return _section(
        title,
        make_table(header, body, right=(0, 2, 3, 4, 5, 6, 10)),
        _note(
            "Gain: reward beyond that of the reference loss, trained beside it. "
            "Check: share of a fine grid of predictions and labels, or of positives and negatives, "
            "on which the gradient pushes the right way. Sound: it passed that check. Front: no "
            "sound loss is as short and has a higher gain, or is shorter and has as high a one. "
            "Twin: the baseline that has the same gradient. Promoted: place after training from "
            "scratch; the first are tested."
        ),
        _figure(plot, "Gain of sound losses over their complexity; ◆ the front.")
        if plot
        else _note("No loss is sound, so there is no plot of gain over complexity."),
    )


def _fame_cell(key: str, value: str) -> Html | str:
    if key == "formula":
        return format_formula(value)
    if key in ("reward", "gain", "check"):
        try:
            return format_score(finite_or_none(float(value)))
        except ValueError:
            return value
    if key in ("sound", "front"):
        return {"true": "yes", "false": "no"}.get(value.lower(), value)
    return value


def _how_section(run: RunFolder) -> Html:
    environment = run.results.get("environment")
    seeds = sorted({seed for cell in run.cells for loss in cell.losses for seed in loss.seeds})
    return _section(
        "How it was run",
        make_element("p", f"Seeds of the test: {', '.join(map(str, seeds))}.") if seeds else "",
        make_element("h3", "Environment"),
        _values_table(environment, "results.json does not say where the run took place."),
        make_element("h3", "Configuration"),
        _values_table(run.config, "This run has no readable config.json."),
    )


def _values_table(values: Any, missing: str) -> Html:
    if not isinstance(values, Mapping) or not values:
        return _note(missing)
    rows = [[make_element("code", key), value] for key, value in _flat(values)]
    return make_element(
        "details",
        make_element("summary", f"{len(rows)} values"),
        make_table(("name", "value"), rows),
        attributes=" open" if len(rows) <= 12 else "",
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _value_text(value)))
    return rows


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)


def _section(title: str, *content: Html | str) -> Html:
    return make_element("section", make_element("h2", title), *content)


def _note(text: str) -> Html:
    return make_element("p", text, cls="muted")


def _figure(svg: str, caption: str) -> Html:
    return make_element("figure", trust_html(svg), make_element("figcaption", caption, cls="muted"))
