"""A run of top-k rankings: a search, then all losses and references tuned and tested alike.

What is finished is kept in the run's folder, so the same command goes on with the next one.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import report
from autolossgen.data import build_ranking
from autolossgen.evaluation.kept import Kept, keep_within
from autolossgen.evaluation.statistics import make_course, make_tuning, summarize_seeds
from autolossgen.files import write_atomically
from autolossgen.interfaces import RankingData
from autolossgen.language.build import build_loss
from autolossgen.language.grammar import FREE_NAME, FREE_VALUE
from autolossgen.language.named_losses import PAIRWISE_LOSSES
from autolossgen.models.closed_form import CLOSED_FORMS, ClosedForm
from autolossgen.models.lightgcn import make_lightgcn
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking.comparison import Difference, compare_to
from autolossgen.ranking.fair_test import (
    MakeModel,
    RankContender,
    RankResult,
    RankTestSettings,
    check_settings,
    make_rank_contender,
    run_rank_test,
)
from autolossgen.ranking.metrics import read_cutoff
from autolossgen.ranking.negatives import Negatives, check_negatives
from autolossgen.ranking.references import ReferenceFailed, run_reference
from autolossgen.ranking.scores import get_score
from autolossgen.ranking.tuning import Range, Trials

from ..checks import check_sizes, describe_short_rankings
from ..finished.training import keep_ranker
from ..kept import keep_in, stop_if_asked
from ..save import save_results, summarize_search
from ..setup import look_up
from ..timing import PhaseTimes
from .checks import check_masks, check_unread
from .search import RankSearchPhase, find_losses, make_rank_search_phase, read_range

REPORTED_MASK = "train+valid"
"""The recommender that a user would be served: refitted, with all masked that is known."""


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
    make_model, search = _make_model(config.model, data), None
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


def _describe_metrics(metric: str, data: RankingData) -> list[str]:
    """Returns warnings where the metric that chooses says little.

    Raises:
      ValueError: if it says nothing.
    """
    known = data.train.counts
    masked = {"valid": known, "test": known + data.valid.counts}
    warnings = []
    for name, counts in masked.items():
        has_some = getattr(data, name).counts > 0
        warnings += describe_short_rankings(metric, name, data.num_items - counts[has_some])
    return warnings


def make_contenders(config: ConfigDict) -> list[RankContender]:
    """Returns the contenders of ``contenders.losses``: names, formulas, or losses of other runs.

    Raises:
      ValueError: for what is none of these, or if there are none.
    """
    constants, score = read_range(config, "generation.constants"), config.contenders.score
    contenders = []
    for source in config.contenders.losses:
        path = Path(source).expanduser()
        if path.is_dir() or path.suffix == ".csv":
            for loss in report.read_found_losses(path, max(config.contenders.found, 1)):
                contender = make_contender(
                    loss.formula, loss.score or score, constants, published=loss.constants
                )
                contenders.append(contender._replace(name=f"{path.stem}-{loss.name}"))
        else:
            contenders.append(make_contender(source, score, constants))
    if not contenders:
        raise ValueError("contenders.losses names at least one loss")
    return contenders


def drop_repeats(contenders: Sequence[RankContender]) -> tuple[list[RankContender], list[str]]:
    """Returns each loss once, with numbers behind names that others have, and what was dropped.

    A loss that is tested twice would count twice where intervals are corrected for their number.
    """
    first: dict[tuple[str, str], RankContender] = {}
    notes = []
    for contender in contenders:
        other = first.setdefault((contender.formula, contender.score), contender)
        if other is not contender:
            same = "" if other.name == contender.name else f", which is the same as {other.name}"
            notes.append(f"tested once: {contender.name}{same}")
    names = [contender.name for contender in first.values()]
    unique = [
        contender._replace(name=f"{contender.name}-{names[:number].count(contender.name) + 1}")
        if names.count(contender.name) > 1
        else contender
        for number, contender in enumerate(first.values())
    ]
    return unique, notes


def make_contender(
    source: str,
    score: str,
    constants: Range,
    *,
    published: Mapping[str, float] | None = None,
) -> RankContender:
    """Returns the contender of a named loss, or of a formula with its score.

    Args:
      source: the name, or a formula in which ``c0``, ``c1``, ... are constants to tune.
      score: of a user and an item, for a formula; a named loss has its own.
      constants: values of a formula's constants that are tried.
      published: constants that a formula was tuned to elsewhere, which widen that range if need be.

    Raises:
      ValueError: for what is neither.

    Example:
      >>> contender = make_contender("softplus(-diff / c0)", "dot", Range(0.1, 10.0))
      >>> contender.formula, [*contender.constants]
      ('softplus(-diff / c0)', ['c0'])
    """
    if source in PAIRWISE_LOSSES or source.isidentifier():
        return make_rank_contender(source)
    get_score(score)
    free: dict[str, Any] = dict.fromkeys(FREE_NAME.findall(source), FREE_VALUE)
    loss = build_loss(source, family="pairwise", **free)
    known = {name: value for name, value in (published or {}).items() if name in free and value > 0}
    widened = {name: _widen(constants, value) for name, value in known.items()}
    return RankContender(
        name=source if len(source) <= 24 else source[:21] + "...",
        formula=source,
        loss=loss,
        score=score,
        constants=dict.fromkeys(free, constants) | widened,
        found=True,
        published=known or None,
    )


def _widen(range_: Range, value: float) -> Range:
    return range_._replace(low=min(range_.low, value), high=max(range_.high, value))


def _make_model(section: ConfigDict, data: RankingData) -> MakeModel:
    """Returns what builds the recommender from what is known of each user."""
    if min(section.embedding_dim, section.layers) < 1:
        raise ValueError(
            f"model.embedding_dim and model.layers are at least 1, got {section.embedding_dim} and "
            f"{section.layers}"
        )
    sizes = {"embedding_dim": section.embedding_dim, "init_scale": section.init_scale}
    factorization = make_matrix_factorization(data.num_users, data.num_items, **sizes)
    models: dict[str, MakeModel] = {
        # The same object for all losses, so that what no loss is part of compiles once.
        "mf": lambda known: factorization,
        "lightgcn": partial(
            make_lightgcn, num_items=data.num_items, layers=section.layers, **sizes
        ),
    }
    return look_up("model.name", section.name, models)


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
    records = make_records(topk, results)
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
        kept = _from_json(json.loads(path.read_text(encoding="utf-8")))
        if kept.formula == formula:  # a search that went on may have found another
            return kept
    text = json.dumps(_to_json(test()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    result = _from_json(json.loads(text))  # as a run that goes on reads it
    metric = topk.settings.metric
    settings = ", ".join(f"{key} {value:.3g}" for key, value in result.settings.items())
    topk.console.print(
        f"{name}: test {metric} {result.test[REPORTED_MASK][metric].mean():.4f} "
        f"({settings or 'no settings'}; {result.num_trainings} trainings, "
        f"{result.seconds:.0f} s)",
        markup=False,
        soft_wrap=True,
    )
    for edge in result.edges:
        topk.console.print(f"  {edge} of what was tried", markup=False, soft_wrap=True)
    return result


def _to_json(value: Any) -> Any:
    """Returns a result as JSON; arrays are lists of numbers."""
    if isinstance(value, RankResult | Trials):
        return {key: _to_json(part) for key, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: _to_json(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _from_json(record: dict[str, Any]) -> RankResult:
    def to_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in values.items()}

    record["valid"] = to_arrays(record["valid"])
    if record["trials"] is not None:
        names = tuple(record["trials"].pop("names"))
        record["trials"] = Trials(names=names, **to_arrays(record["trials"]))
    for part in ("test", "lists"):
        record[part] = {mask: to_arrays(values) for mask, values in record[part].items()}
    return RankResult(**record)


def make_records(topk: TopK, results: list[RankResult]) -> list[dict[str, Any]]:
    """Returns the ``losses`` of ``results.json``.

    Differences are from the baseline that is best on validation, over users and seeds, corrected
    for the number of losses that are compared with it; recommenders without one are apart.
    """
    metric = topk.settings.metric
    # References that cannot be fitted may leave found losses alone.
    baselines = [result for result in results if not result.found] or results
    best = max(baselines, key=lambda result: result.valid[metric].mean())
    # Not by name: those of two long formulas may be cut to the same.
    by_result: dict[int, Difference] = {}
    for has_loss in (True, False):  # what is corrected for is the number of losses
        others = [x for x in results if x is not best and bool(x.formula) == has_loss]
        values = [result.test[REPORTED_MASK][metric] for result in others]
        differences = compare_to(values, best.test[REPORTED_MASK][metric])
        by_result |= {id(x): found for x, found in zip(others, differences, strict=True)}
    return [_make_record(topk, result, by_result.get(id(result))) for result in results]


def _make_record(topk: TopK, result: RankResult, difference: Difference | None) -> dict[str, Any]:
    """Returns the record of a result; the best baseline has no difference from itself."""
    settings = dict(result.settings)
    test, other_test = (
        {
            name: summarize_seeds(values)
            for name, values in (*result.lists[mask].items(), *_by_seed(result.test[mask]).items())
        }
        for mask in (REPORTED_MASK, "train")
    )
    return {
        "name": result.name,
        "formula": result.formula,
        "tokens": None,
        "found": result.found,
        "bounds": None,
        "model": topk.config.model.name,
        "dataset": topk.data.name,
        "learning_rate": settings.pop("learning_rate", None),
        "weight_decay": settings.pop("weight_decay", None),
        "constants": settings,
        "score": result.score,
        "edges": result.edges,
        "trainings": result.num_trainings,
        "training_epochs": result.num_epochs,
        "seconds": result.seconds,
        "seeds": list(range(len(result.test["train"][topk.settings.metric]))),
        "epochs": result.epochs,
        "course": make_course(result.course),
        "tuning": make_tuning(result.tuning),
        "valid": {name: float(values.mean()) for name, values in result.valid.items()},
        "test": test,
        "test_masking_train": other_test,
        "vs_best_baseline": difference
        and {
            "metric": topk.settings.metric,
            "difference": difference.mean,
            "ci95": [difference.low, difference.high],
            "p_holm": difference.p,
        },
    }


def _by_seed(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the means over users, [S]."""
    return {name: value.mean(1) for name, value in values.items()}
