"""Sections on the search: its course, the funnel, the hall of fame and promotion."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..formatting import format_count, format_duration, format_score
from ..plots import PAGE, plot_front, plot_rewards
from ..results import finite_or_none
from .formulas import format_formula
from .parts import Folded, Heading, Part, Row, Section, Table, Text, make_figure, make_note

BELOW_REFERENCE = "below_baseline"
"""Key of the funnel's last stage: trained candidates that did worse than the reference loss."""

_FIRST_ROWS = 10  # of the hall of fame that are seen at once, and on paper
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
_PROMOTION_NOTE = (
    "Promotion trains losses from scratch, each at several settings. With several rungs each one "
    "trains for longer, and the best of each kind go on to it; those on top after the last one are "
    "tested."
)
_HALL_OF_FAME_COLUMNS = (
    *("rank", "formula", "complexity", "score", "reward", "gain", "generation"),
    *("check", "front", "twin", "outcome"),
)


def make_search_sections(
    generations: Sequence[Mapping[str, Any]] | None,
    search: Mapping[str, Any],
    hall_of_fame: Sequence[Mapping[str, str]] | None,
    promotion: Sequence[Mapping[str, Any]],
) -> list[Section]:
    """Returns the sections on the search.

    Args:
      generations: rows of ``metrics.jsonl``, None without any.
      search: what ``results.json`` has of it.
      hall_of_fame: rows of ``hall_of_fame.csv``, None without any.
      promotion: rows of ``promotion.json``.
    """
    sections = [_make_promotion_section(promotion, hall_of_fame or ())] if promotion else []
    return [
        *sections,
        _make_search_section(generations, search),
        _make_hall_section(hall_of_fame),
    ]


def _make_promotion_section(
    promotion: Sequence[Mapping[str, Any]], hall_of_fame: Sequence[Mapping[str, str]]
) -> Section:
    """Returns which losses were promoted, how they did in each rung, and what became of them."""
    rows = {f"found-{row.get('rank')}": row for row in hall_of_fame}
    rungs = list(dict.fromkeys((row.get("rung"), row.get("epochs")) for row in promotion))
    rewards = {(row["name"], row.get("rung")): row.get("reward") for row in promotion}
    last_first = sorted(promotion, key=lambda row: -(row.get("rung") or 0))
    names = list(dict.fromkeys(row["name"] for row in last_first))
    columns = ["loss", "reward in search"]
    columns += [f"after {epochs} epochs" for _, epochs in rungs]
    columns += ["outcome", "formula"]
    table_rows = []
    for name in names:
        row = rows.get(name, {})
        cells = [name, _format_number(row.get("reward", ""))]
        cells += [_format_score(rewards.get((name, rung))) for rung, _ in rungs]
        cells += [row.get("outcome", ""), format_formula(row.get("formula", ""))]
        table_rows.append(Row(cells, "found" if row.get("outcome") == "tested" else ""))
    right = range(1, 2 + len(rungs))
    table = Table("What went into promotion", columns, table_rows[:_FIRST_ROWS], right=right)
    twins = sum(bool(row.get("twin")) for row in hall_of_fame)
    facts = f"{len(names)} of {len(hall_of_fame)} losses of the hall of fame went in"
    facts += f"; stayed out as twins of baselines: {twins}." if twins else "."
    parts: list[Part] = [table, Text(facts), make_note(_PROMOTION_NOTE)]
    if rest := table_rows[_FIRST_ROWS:]:
        parts.insert(1, Folded(f"{len(rest)} more losses", table._replace(rows=rest)))
    return Section("promotion", "What went into promotion, and why", parts)


def _make_search_section(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> Section:
    parts: list[Part] = []
    if generations:
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
        rewards = make_figure(
            plot_rewards(generations, palette=PAGE),
            "reward",
            "Reward over the number of candidates trained.",
            missing="No generation has a reward, so there is no curve.",
        )
        parts += [Text(facts), rewards]
    else:
        why = "so there is no curve" if search else "so it ran without a search"
        parts.append(make_note(f"This run has no readable metrics.jsonl, {why}."))
    parts.append(Heading("What became of the candidates"))
    return Section("search", "Search", [*parts, *_list_funnel(generations, search)])


def _list_funnel(
    generations: Sequence[Mapping[str, Any]] | None, search: Mapping[str, Any]
) -> list[Part]:
    funnel = _sum_funnel(generations, search)
    below = funnel.get(BELOW_REFERENCE, 0)  # these are among the trained ones
    sampled = finite_or_none(search.get("sampled")) or sum(funnel.values()) - below
    if not funnel or not sampled:
        return [make_note("No candidates were counted: this run has no search.")]
    rows = [Row(["sampled", "", format_count(sampled), *_make_bar(1.0)])]
    left = sampled
    for stage, count in funnel.items():
        passed = stage == "trained"
        left = count if passed else left - count
        name = "below the reference" if stage == BELOW_REFERENCE else stage.replace("_", " ")
        removed = "" if passed else format_count(count)
        rows.append(Row([name, removed, format_count(left), *_make_bar(left / sampled)]))
    columns = ("stage", "stopped here", "left", "share", "")
    table = Table("What became of the candidates", columns, rows, right=(1, 2, 3))
    return [table, make_note(_FUNNEL_NOTE)]


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


def _make_bar(share: float) -> tuple[str, Markup]:
    share = min(max(share, 0.0), 1.0)
    bar = Markup('<div class="bar" style="width:{:.3f}%"></div>').format(100 * share)
    track = Markup('<div class="track" aria-hidden="true">{}</div>').format(bar)
    return f"{100 * share:.3g} %", track


def _make_hall_section(rows: Sequence[Mapping[str, str]] | None) -> Section:
    title = "Hall of fame"
    if rows is None:
        return Section("hall", title, [make_note("This run has no readable hall_of_fame.csv.")])
    if not rows:
        note = make_note("The hall of fame is empty: no candidate was good enough.")
        return Section("hall", title, [note])
    table_rows = [
        Row([_format_hall_entry(key, row.get(key, "")) for key in _HALL_OF_FAME_COLUMNS])
        for row in rows
    ]
    right = (2, 3, 4, 5, 6, 7)
    table = Table(title, _HALL_OF_FAME_COLUMNS, table_rows[:_FIRST_ROWS], right=right)
    parts: list[Part] = [
        make_figure(
            plot_front(rows, palette=PAGE),
            "front",
            "Gain of the losses over their complexity; ◆ the front, with its formulas.",
            missing="No gain is known, so there is no plot of gain over complexity.",
        ),
        table,
    ]
    if rest := table_rows[_FIRST_ROWS:]:
        parts.append(Folded(f"{len(rest)} more losses", table._replace(rows=rest)))
    return Section("hall", title, [*parts, make_note(_HALL_OF_FAME_NOTE)])


def _format_hall_entry(key: str, value: str) -> str:
    if key == "formula":
        return format_formula(value)
    if key in ("score", "reward", "gain", "check"):
        return _format_number(value)
    if key == "front":
        return {"true": "yes", "false": "no"}.get(value.lower(), value)
    return value


def _format_number(text: str) -> str:
    """Returns a number of a CSV file as a score, and another text as it is."""
    try:
        return format_score(finite_or_none(float(text)))
    except ValueError:
        return text


def _format_score(value: Any) -> str:
    number = finite_or_none(value)
    return "" if number is None else format_score(number)
