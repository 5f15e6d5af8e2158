"""Sections on the fair test: curves, differences, metrics, courses and sensitivity."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..formatting import format_hyper_parameter, format_score
from ..plots import (
    PAGE,
    plot_courses,
    plot_curves,
    plot_differences,
    plot_sensitivity,
)
from ..results import ERROR_METRICS, Cell, Estimate, LossResult, format_metric_name
from ..terminal_table import format_diverged, format_edges, format_test_score
from ..transfer_matrix import make_matrix_rows
from ..verdict import (
    format_difference,
    format_user_interval,
    format_verdict,
    get_best_baseline,
    sort_by_validation,
)
from ..views import LossCurves, Views
from .formulas import format_formula, typeset_lines
from .parts import (
    Cell as TableCell,
)
from .parts import (
    Figure,
    Formulas,
    Option,
    Part,
    Row,
    Section,
    Switch,
    Table,
    make_figure,
    make_note,
)

_MOST_CURVES = 3  # of found losses, and as many of baselines
_MATRIX_NOTE = (
    "The test metric, its difference to the baseline that is best there on validation, the 95 % "
    "intervals of that difference over seeds and over users, and the verdict that they allow. The "
    "stronger a colour, the larger the difference: green is better, red worse."
)
_TEST_NOTE = (
    "◆ found by the search. lr: learning rate, wd: weight decay; these and the number of epochs "
    "were chosen for each loss on validation. ± is half the 95 % interval. Differences are paired. "
)
_PAIR_NOTE = (
    "A loss is better or worse only if 0 is outside the interval of its difference over seeds and, "
    "where it is given, outside the one over users."
)
_JOINT_NOTE = (
    "A loss is better or worse if 0 is outside the interval of its difference, which is over users "
    "and seeds, and wide enough for all losses that are compared."
)
_PAIR_CAPTION = (
    "Thick: 95 % interval over seeds, thin: over users. If both lie on one side of 0, the loss is "
    "better or worse."
)
_JOINT_CAPTION = (
    "The 95 % intervals are over users and seeds, and hold for all losses together. If one lies on "
    "one side of 0, the loss is better or worse."
)


def make_matrix_section(cells: Sequence[Cell]) -> Section:
    """Returns the heat map of a transfer: every loss on every model and data set."""
    columns = ["loss", *(f"{cell.title}: {format_metric_name(cell.metric)}" for cell in cells)]
    shares = [_scale_differences(cell) for cell in cells]
    rows = []
    for name, *entries in make_matrix_rows(cells):
        plain = name.removeprefix("◆ ")
        tinted = [
            TableCell(entry, _tint(share.get(plain, 0.0)))
            for entry, share in zip(entries, shares, strict=True)
        ]
        rows.append(Row([name, *tinted], "found" if name.startswith("◆") else ""))
    table = Table("Every loss on every model and data set", columns, rows, css_class="heat")
    return Section("transfer", table.caption, [table, make_note(_MATRIX_NOTE)])


def _scale_differences(cell: Cell) -> dict[str, float]:
    """Returns name -> gain over the best baseline, from -1 to 1, by the largest in the cell."""
    sign = -1.0 if cell.metric in ERROR_METRICS else 1.0
    gains = {
        loss.name: sign * (loss.comparison.difference.mean or 0.0)
        for loss in cell.losses
        if loss.comparison is not None
    }
    largest = max(map(abs, gains.values()), default=0.0) or 1.0
    return {name: gain / largest for name, gain in gains.items()}


def _tint(share: float) -> str:
    tone = "good" if share > 0 else "bad"
    return f"--tone: var(--{tone}); --share: {55 * abs(share):.0f}%"


def make_test_sections(
    cell: Cell, views: Views, promotion: Sequence[Mapping[str, Any]], *, key: str, title: str
) -> list[Section]:
    """Returns the sections on one recommender and data set.

    Args:
      cell: of the losses.
      views: of tested losses.
      promotion: rows of ``promotion.json``.
      key: letters that no other cell has.
      title: what is added to the titles, if there are several cells.
    """
    metric = format_metric_name(cell.metric)
    differences = make_figure(
        plot_differences(cell, palette=PAGE),
        f"differences{key}",
        f"Difference in test {metric} to the best baseline. ◆ found, ● baseline. "
        + (_JOINT_CAPTION if is_joint(cell) else _PAIR_CAPTION),
        missing=f"No difference in test {metric} is known, so there is no plot.",
    )
    note = make_note(_TEST_NOTE + (_JOINT_NOTE if is_joint(cell) else _PAIR_NOTE))
    parts: list[Part] = [differences, _make_test_table(cell), note]
    parts += [make_note(text) for text in (format_edges(cell), format_diverged(cell)) if text]
    sections = [Section(f"test{key}", f"Is it better?{title}", parts)]
    sections += _make_curves_section(cell, views, key, title)
    sections += _make_metrics_section(cell, key, title)
    sections.append(
        Section(f"training{key}", f"Over epochs and settings{title}", _draw(cell, promotion, key))
    )
    return sections


def is_joint(cell: Cell) -> bool:
    """Whether intervals are over users and seeds together."""
    return any(loss.comparison.is_joint for loss in cell.losses if loss.comparison)


def _make_test_table(cell: Cell) -> Table:
    metric = format_metric_name(cell.metric)
    columns = ["loss", f"test {metric}", "to the best baseline [95 %]", "verdict", "lr", "wd"]
    columns += ["epochs", f"valid {metric}", "formula"]
    rows = [
        Row(
            [
                f"◆ {loss.name}" if loss.found else loss.name,
                _figure(format_test_score(loss)),
                _format_difference(loss),
                _format_verdict(cell, loss),
                format_hyper_parameter(loss.learning_rate),
                format_hyper_parameter(loss.weight_decay),
                format_hyper_parameter(loss.epochs),
                format_score(loss.valid_score),
                format_formula(loss.formula) if loss.formula else "",
            ],
            "found" if loss.found else "",
        )
        for loss in cell.losses
    ]
    return Table(f"Tested losses: {cell.title}", columns, rows, right=(1, 4, 5, 6, 7))


def _figure(text: str) -> Markup:
    return Markup('<span class="figure">{}</span>').format(text)


def _format_difference(loss: LossResult) -> Markup:
    users = format_user_interval(loss)
    small = Markup("<small>{}</small>").format(users) if users else ""
    return Markup('<span class="figure">{}{}</span>').format(format_difference(loss), small)


def _format_verdict(cell: Cell, loss: LossResult) -> Markup:
    verdict = format_verdict(cell, loss)
    return Markup('<span class="verdict {}">{}</span>').format(verdict.replace(" ", "-"), verdict)


def _make_curves_section(cell: Cell, views: Views, key: str, title: str) -> list[Section]:
    """Returns the losses as functions, in pictures and typeset; nothing if none can be built."""
    found, baselines = choose_curves(cell, views)
    parts: list[Part] = []
    if found or baselines:
        parts.append(_draw_curves(found, baselines, key))
    baseline = get_best_baseline(cell)
    shown = [loss for loss in sort_by_validation(cell) if loss.found]
    for loss in [*shown[:_MOST_CURVES], *([baseline] if baseline else [])]:
        view = views.get((loss.model, loss.dataset, loss.name))
        lines = typeset_lines(view.latex, loss.formula, loss.by_label) if view else []
        if lines:
            name = f"◆ {loss.name}" if loss.found else f"{loss.name}, the best baseline"
            parts.append(Formulas(name, lines))
    return [Section(f"curves{key}", f"What they look like{title}", parts)] if parts else []


def choose_curves(cell: Cell, views: Views) -> tuple[dict[str, LossCurves], dict[str, LossCurves]]:
    """Returns the curves to draw: of the best found losses, and of the best baselines."""

    def list_curves(losses: Iterable[LossResult]) -> dict[str, LossCurves]:
        known = {loss.name: views.get((loss.model, loss.dataset, loss.name)) for loss in losses}
        curves = {name: view.curves for name, view in known.items() if view and view.curves}
        return dict(list(curves.items())[:_MOST_CURVES])

    ordered, baseline = sort_by_validation(cell), get_best_baseline(cell)
    others = [loss for loss in ordered if not loss.found and loss is not baseline]
    found = list_curves(loss for loss in ordered if loss.found)
    baselines = list_curves([*([baseline] if baseline else []), *others])
    first = next(iter({**found, **baselines}.values()), None)
    # Losses of another score have other inputs.
    alike = {n: one for n, one in baselines.items() if first and one.inputs == first.inputs}
    return found, alike


def _draw_curves(
    found: Mapping[str, LossCurves], baselines: Mapping[str, LossCurves], key: str
) -> Figure:
    return make_figure(
        plot_curves(found, baselines, palette=PAGE),
        f"curves{key}",
        f"Value and gradient of {', '.join([*found, *baselines])}. Whole lines: found; broken "
        "lines: baselines, the best one first. A constant and a factor change nothing in training, "
        "so each value begins at 0 and the mean gradient is 1.",
        missing="",
    )


def _make_metrics_section(cell: Cell, key: str, title: str) -> list[Section]:
    groups = _group_metrics(cell)
    if not groups:
        return []
    options = [
        Option(name, _make_metrics_table(cell, name, group, split))
        for name, (split, group) in groups.items()
    ]
    # "test" comes first, so the metric that compares is found there if it is at all.
    holds = [cell.metric in metrics for _, metrics in groups.values()]
    chosen = holds.index(True) if any(holds) else 0
    switch = Switch(f"metrics{key}", "Which metrics", options, chosen)
    note = make_note("Means over seeds, ± half the 95 % interval; the best of a column is bold.")
    return [Section(f"metrics{key}", f"All metrics{title}", [switch, note])]


def _group_metrics(cell: Cell) -> dict[str, tuple[str, list[str]]]:
    """Returns title -> split and metrics of a table; metrics at one cutoff stand together."""
    groups: dict[str, tuple[str, list[str]]] = {}
    for split in ("test", "valid"):
        names = dict.fromkeys(name for loss in cell.losses for name in getattr(loss, split))
        for name in sorted(names, key=_order_metric):
            cutoff = name.partition("@")[2]
            title = f"{'test' if split == 'test' else 'validation'}"
            title += f" at {cutoff}" if cutoff else ""
            groups.setdefault(title, (split, []))[1].append(name)
    return groups


def _order_metric(name: str) -> tuple[int, int, str]:
    """Returns what metrics are ordered by: their cutoff, then those that people look at first."""
    base, _, cutoff = name.partition("@")
    first = ("ndcg", "recall", "auc", "user_auc")
    place = first.index(base) if base in first else len(first)
    return int(cutoff) if cutoff.isdigit() else 0, place, base


def _make_metrics_table(cell: Cell, title: str, metrics: Sequence[str], split: str) -> Table:
    best = {metric: _find_best(cell, metric, split) for metric in metrics}
    rows = []
    for loss in cell.losses:
        entries: list[str] = [f"◆ {loss.name}" if loss.found else loss.name]
        for metric in metrics:
            text = _format_estimate(_get_estimate(loss, metric, split))
            is_best = loss.name == best[metric]
            entries.append(Markup('<span class="best">{}</span>').format(text) if is_best else text)
        rows.append(Row(entries, "found" if loss.found else ""))
    columns = ["loss", *map(format_metric_name, metrics)]
    right = range(1, len(columns))
    return Table(f"{title}: {cell.title}", columns, rows, right=right, hides_caption=False)


def _get_estimate(loss: LossResult, metric: str, split: str) -> Estimate:
    if split == "test":
        return loss.test.get(metric, Estimate())
    return Estimate(loss.valid.get(metric))


def _find_best(cell: Cell, metric: str, split: str) -> str | None:
    """Returns the name of the loss with the best mean; None if it is not known which way is up."""
    base = metric.partition("@")[0]
    if base in ("gini", "coverage"):  # neither is better as such
        return None
    sign = -1.0 if metric in ERROR_METRICS else 1.0
    means = {loss.name: _get_estimate(loss, metric, split).mean for loss in cell.losses}
    known = {name: sign * mean for name, mean in means.items() if mean is not None}
    return max(known, key=known.__getitem__) if known else None


def _format_estimate(estimate: Estimate) -> str:
    if estimate.half_width is None:
        return format_score(estimate.mean)
    return f"{format_score(estimate.mean)} ± {format_score(estimate.half_width)}"


def _draw(cell: Cell, promotion: Sequence[Mapping[str, Any]], key: str) -> list[Part]:
    metric = format_metric_name(cell.metric)
    return [
        make_figure(
            plot_courses(cell, promotion, palette=PAGE),
            f"courses{key}",
            f"{metric} on validation over the epochs of promotion and of the test. Whole lines: "
            "losses that were found and tested; broken: the best baseline; grey: all others. A "
            "ring is the epoch that was chosen.",
            missing="No course over epochs was kept, so there is no plot.",
        ),
        make_figure(
            plot_sensitivity(cell, palette=PAGE),
            f"sensitivity{key}",
            f"Best {metric} on validation over what was tried: learning rates, and the constants "
            "of a formula. A flat curve is a loss that is easy to use. The dashed line is what was "
            "chosen.",
            missing="No trials of tuning were kept, so there is no plot.",
        ),
    ]
