"""A run of top-k rankings: a search, then all losses and references tuned and tested alike.

What is finished is kept in the run's folder, so the same command goes on with the next one.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import report
from autolossgen.data import build_ranking
from autolossgen.evaluation.kept import Kept, keep_within
from autolossgen.files import write_atomically
from autolossgen.interfaces import RankingData
from autolossgen.models.closed_form import CLOSED_FORMS, ClosedForm
from autolossgen.ranking.contenders import RankContender
from autolossgen.ranking.fair_test import (
    MakeModel,
    RankResult,
    run_rank_test,
)
from autolossgen.ranking.metrics import read_cutoff
from autolossgen.ranking.negatives import Negatives, check_negatives
from autolossgen.ranking.references import ReferenceFailed, run_reference
from autolossgen.ranking.settings import RankTestSettings, check_settings

from ..checks import check_sizes, describe_short_rankings
from ..finished.training import keep_ranker
from ..kept import keep_in, stop_if_asked
from ..save import save_results, summarize_search
from ..setup import look_up
from ..timing import PhaseTimes
from .checks import check_masks, check_unread
from .contenders import drop_repeats, make_contenders
from .models import choose_model
from .records import REPORTED_MASK, from_json, make_records, to_json
from .search import RankSearchPhase, find_losses, make_rank_search_phase, read_range


class TopK(NamedTuple):
    """Everything that a run of rankings needs, built and checked before anything trains."""

    config: ConfigDict
    console: Console
    data: RankingData
    make_model: MakeModel
    search: RankSearchPhase | None  # None where no generations are asked for
    contenders: list[RankContender]  # but those that the search finds
    references: list[ClosedForm]
    settings: RankTestSettings
    progress: report.PhaseProgress


def make_topk(config: ConfigDict, console: Console) -> TopK:
    """Builds what a config describes.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    check_sizes(config)
    check_unread(config)
    settings = _make_settings(config)
    contenders, repeats = drop_repeats(make_contenders(config))
    references = [
        look_up("contenders.references", name, CLOSED_FORMS)
        for name in config.contenders.references
    ]
    if not references and all(contender.found for contender in contenders):
        raise ValueError(
            "formulas are compared with a named loss in contenders.losses or with one of "
            "contenders.references, got neither"
        )
    data = build_ranking(**config.data)
    check_masks(data, config)
    make_model, search = choose_model(config.model, data), None
    progress = report.PhaseProgress(console)
    if config.search.generations:
        model = make_model(data.train)
        search = make_rank_search_phase(config, data, model, settings, console, progress)
    return TopK(
        config=config,
        console=console,
        data=data._replace(
            notes=(*data.notes, *_describe_metrics(settings.metric, data), *repeats)
        ),
        make_model=make_model,
        search=search,
        contenders=contenders,
        references=references,
        settings=settings,
        progress=progress,
    )


def _make_settings(config: ConfigDict) -> RankTestSettings:
    """Returns the settings of the test.

    Raises:
      ValueError: for values out of range.
    """
    ranges = {
        name: read_range(config, f"test.{name}") for name in ("learning_rate", "weight_decay")
    }
    top = read_cutoff(config.test.metric) if config.test.top is None else config.test.top
    settings = RankTestSettings(
        **{**config.test, **ranges, "top": top},
        batch_size=config.train.batch_size,
        negatives=Negatives(
            kind=config.train.negatives,
            number=config.train.num_negatives,
            power=config.train.popularity_power,
            correct=config.train.correct_popularity,
        ),
        seed=config.seed,
    )
    check_settings(settings)
    check_negatives(settings.negatives)
    return settings


def _describe_metrics(metric: str, data: RankingData) -> list[str]:
    """Returns warnings where the metric that chooses says little.

    Raises:
      ValueError: if it says nothing.
    """
    known = data.train.counts
    masked = {"valid": known, "test": known + data.valid.counts}
    warnings = []
    for name, counts in masked.items():
        relevant = getattr(data, name).counts
        has_some = relevant > 0
        candidates = data.num_items - counts[has_some]
        warnings += describe_short_rankings(metric, name, candidates, relevant[has_some])
    return warnings


def run_topk(
    topk: TopK,
    folder: Path,
    asked: Callable[[], bool] = lambda: False,
    trackers: report.Trackers | None = None,
) -> dict[str, Any]:
    """Searches, tests all that is not finished, and saves.

    Args:
      topk: what to do.
      folder: of the run.
      asked: whether the user asked to stop.
      trackers: that are told of each generation of a search.

    Returns:
      What ``results.json`` holds.

    Raises:
      Stopped: if the user asked to stop; what is finished is kept.
    """
    console, data = topk.console, topk.data
    notes = [*data.notes, *_describe_protocol(topk)]
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    kept = keep_in(folder, asked, partial(console.print, markup=False, soft_wrap=True))
    results, failures = run_references(topk, folder, asked)
    notes += failures
    found: list[RankContender] = []
    records_of_search: list[dict[str, Any]] = []
    times = PhaseTimes()
    if topk.search:
        with times.measure("search and promotion"):
            found, records_of_search = find_losses(topk.search, folder, asked, kept, trackers)
    contenders, repeats = drop_repeats([*topk.contenders, *found])
    for note in repeats:
        console.print(note, markup=False, soft_wrap=True)
    results += _test_losses(topk, contenders, folder, kept)
    records = make_records(
        results,
        metric=topk.settings.metric,
        model=topk.config.model.name,
        dataset=data.name,
    )
    with times.measure("recommender"):
        keep_ranker(
            data,
            topk.make_model,
            topk.settings,
            contenders,
            results,
            records,
            folder=folder,
            progress=topk.progress,
            kept=kept,
        )
    search, seconds = summarize_search(records_of_search), times.seconds
    seconds |= {"test": sum(result.seconds for result in results)}  # some of it before a resume
    return save_results(folder, records, search, notes, seconds)


def run_references(
    topk: TopK, folder: Path, asked: Callable[[], bool]
) -> tuple[list[RankResult], list[str]]:
    """Tests recommenders without a loss; returns results, and why others have none."""
    say = partial(topk.console.print, markup=False, soft_wrap=True)
    results, failures = [], []
    for form in topk.references:
        test = partial(run_reference, form.name, form.fit, form.grid, topk.data, topk.settings, say)
        try:
            results.append(_test_once(topk, folder, form.name, test))
        except ReferenceFailed as error:
            failures.append(f"{error}; the test goes on without {form.name}")
            say(failures[-1])
        stop_if_asked(asked, f"after {form.name}")
    return results, failures


def _test_losses(
    topk: TopK, contenders: list[RankContender], folder: Path, kept: Kept
) -> list[RankResult]:
    """Tests losses one after the other, all that are not finished."""
    results = []
    with topk.progress:
        for number, contender in enumerate(contenders):
            test = partial(
                run_rank_test,
                contender,
                topk.data,
                topk.make_model,
                topk.settings,
                progress=topk.progress,
                kept=keep_within(kept, contender.name, contender.formula, contender.score),
            )
            is_name = re.fullmatch(r"[\w-]+", contender.name)  # a formula of one's own has none
            name = contender.name if is_name else f"formula-{number}"
            with topk.progress.part(contender.name, number, len(contenders)):
                results.append(_test_once(topk, folder, name, test, contender.formula))
    return results


def _describe_protocol(topk: TopK) -> list[str]:
    settings = topk.settings
    return [
        "test: rankings of all items but those of train and validation, by a recommender that is "
        "trained again on both; results.json also has the test of one that saw train alone",
        f"each loss: {sum(settings.trials)} trials, tuned by {settings.metric} on validation; "
        f"then {settings.seeds} seeds"
        + (": intervals are over users alone" if settings.seeds == 1 else ""),
    ]


def _test_once(
    topk: TopK, folder: Path, name: str, test: Callable[[], RankResult], formula: str = ""
) -> RankResult:
    """Returns the result that is kept in the folder, or that of the test, which is then kept."""
    path = folder / "tested" / f"{name}.json"
    if path.exists():
        kept = from_json(json.loads(path.read_text(encoding="utf-8")))
        if kept.formula == formula:  # a search that went on may have found another
            return kept
    text = json.dumps(to_json(test()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    result = from_json(json.loads(text))  # as a run that goes on reads it
    metric = topk.settings.metric
    settings = ", ".join(f"{key} {value:.3g}" for key, value in result.settings.items())
    topk.console.print(
        f"{name}: test {metric} {result.test[REPORTED_MASK][metric].mean():.4f} "
        f"({settings or 'no settings'}; {result.num_trainings} trainings, "
        f"{result.seconds:.0f} s)",
        markup=False,
        soft_wrap=True,
    )
    for mask, count in result.diverged.items():
        if count:
            topk.console.print(
                f"  {count} of {topk.settings.seeds} trainings on {mask} diverged",
                markup=False,
                soft_wrap=True,
            )
    for edge in result.edges:
        topk.console.print(f"  {edge} of what was tried", markup=False, soft_wrap=True)
    return result
