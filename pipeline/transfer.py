"""Transfer: given losses in the fair test of every model on every data set asked for."""

import difflib
import json
import runpy
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import PAIRWISE_LOSSES, POINTWISE_LOSSES, report
from autolossgen.configs.base import get_config
from autolossgen.configs.command_line import shipped_configs
from autolossgen.evaluation.contenders import Contender, baseline_contenders, make_contender
from autolossgen.files import write_atomically
from autolossgen.language.families import Family
from autolossgen.search.space import make_space
from autolossgen.training.tasks import Task, make_task

from .checks import check_numbers
from .environment import describe_environment
from .phases import Setup, baseline_losses, compare_losses, make_setup
from .workdir import check_workdir, claim_workdir, read_results

Bounds = tuple[float, float]
NO_SEARCH = {"sampled": 0, "trained": 0, "seconds": 0.0, "funnel": {}}


def make_cells(config: ConfigDict) -> dict[str, ConfigDict]:
    """Give every model on every data set of ``config.transfer``: folder name -> config.

    A data set is a shipped config's name, or a config file of one's own, with ``=PATH`` behind it
    where the data lie elsewhere. Its data section and batch size are taken; all else is ``config``.

    Raises:
      ValueError: if one is named twice, is no config or wants other losses, or if ``config`` sets
        what a cell has from elsewhere.
    """
    _check_unused(config)
    made = {}
    for source in config.transfer.datasets:
        name, _, path = source.partition("=")
        theirs = _data_config(name)
        _check_agrees(name, theirs, config)
        for model in config.transfer.models:
            one = ConfigDict(config.to_dict())
            one.data, one.train.batch_size = theirs.data, theirs.train.batch_size
            if path:
                one.data.path = path
            one.model.name = model
            folder = f"{model}-{Path(name).stem}".replace(":", ".")
            if folder in made:
                raise ValueError(f"transfer names {model!r} on {Path(name).stem!r} twice")
            made[folder] = one
    if not made:
        raise ValueError("transfer needs at least one of transfer.models and transfer.datasets")
    return made


def _check_unused(config: ConfigDict) -> None:
    """See that what no cell would take from ``config`` is as in ``base``."""
    model = {"model.name": "transfer.models"}
    data = dict.fromkeys(("data", "train.batch_size"), "the configs that transfer.datasets names")
    for key, whence in {**data, **model}.items():
        if difference := _difference(key, attrgetter(key)(config), attrgetter(key)(get_config())):
            raise ValueError(
                f"a transfer takes {key} from {whence}, so nothing would read {difference}: set it "
                f"there" + ("" if key in model else ", in a config file of your own if need be")
            )


def _difference(key: str, value: Any, usual: Any) -> str:
    """Give the first key whose value is not the usual one, with that value; or nothing."""
    if not isinstance(value, ConfigDict):
        return "" if value == usual else f"{key}={value!r}"
    # The name says most: another data set has other keys.
    order = sorted(value, key=lambda name: name != "name")
    differences = (_difference(f"{key}.{name}", value[name], usual.get(name)) for name in order)
    return next(filter(None, differences), "")


def _check_agrees(name: str, theirs: ConfigDict, config: ConfigDict) -> None:
    """See that a data set's config asks for no losses that this transfer does not test."""
    if theirs.transfer.losses:
        raise ValueError(f"transfer.datasets has {name!r}, which is a transfer itself")
    usual = get_config()
    for key in ("space.family", "search.reward"):
        wanted, here = attrgetter(key)(theirs), attrgetter(key)(config)
        if wanted not in (attrgetter(key)(usual), here):
            raise ValueError(
                f"transfer.datasets has {name!r}, whose {key} is {wanted!r}, and here it is "
                f"{here!r}: give --config.{key}={wanted}, or another config of the same data"
            )


def _data_config(name: str) -> ConfigDict:
    """Give the config of a data set."""
    path = Path(name).expanduser() if name.endswith(".py") else shipped_configs().get(name)
    if path is None or not path.is_file():
        near = difflib.get_close_matches(name, shipped_configs(), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"transfer.datasets has {name!r}, which is no config in configs/ nor a file{hint}"
        )
    try:
        theirs = runpy.run_path(str(path))["get_config"]()
    except Exception as error:  # a config is a Python file, and can fail in any way
        raise ValueError(f"{path} gives no config: {type(error).__name__}: {error}") from error
    needed = ("data", "train", "space", "search", "transfer")
    if not isinstance(theirs, ConfigDict) or any(section not in theirs for section in needed):
        raise ValueError(f"{path} gives no config with the sections {', '.join(needed)}")
    return theirs.unlock()


def read_given_losses(config: ConfigDict) -> list[Contender]:
    """Give the losses of ``config.transfer``, which are seen beside the usual ones.

    Each is a name, a formula, or a path: of a run folder, whose tested found losses are taken, or
    of a hall of fame, whose first ``contenders.found`` sound losses are. Those of a run are clipped
    as its ``config.json`` says, formulas as ``space.bounds`` does.

    Raises:
      ValueError: for what is none of these, or a name of the usual losses.
    """
    task = make_task(config.space.family, config.train.negatives, config.search.reward)
    names = {each.name for each in baseline_losses(config, task)}
    made = []
    for source in config.transfer.losses:
        for each in _read(source, task, config):
            if each.name not in names:
                made.append(each)
    return _apart(made)


def _read(source: str, task: Task, config: ConfigDict) -> Sequence[Contender]:
    named = {**POINTWISE_LOSSES, **PAIRWISE_LOSSES}
    if source in named:
        return baseline_contenders(task, baselines=(source,), smoothing=config.contenders.smoothing)
    where = make_space(**config.space)
    path = Path(source).expanduser()
    if path.is_dir() or path.suffix == ".csv":
        losses = report.read_found_losses(path, config.contenders.found)
        return [_of_run(each, source, task.family, where.bounds) for each in losses]
    try:
        return [make_contender("given", source, family=task.family, bounds=where.bounds)]
    except ValueError as error:
        near = difflib.get_close_matches(source, named, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"transfer.losses has {source!r}, which is no name of a loss{hint}, no folder or CSV "
            f"file that is there, and no formula: {error}"
        ) from error


def _of_run(loss: report.FoundLoss, source: str, family: Family, bounds: Bounds) -> Contender:
    """Give what another run found, under the bounds that it was found with, if these are known."""
    if (theirs := loss.family or family.name) != family.name:
        raise ValueError(
            f"transfer.losses has {source!r}, whose losses are {theirs}, and here they are "
            f"{family.name}; give --config.space.family={theirs}"
        )
    return make_contender(loss.name, loss.formula, family=family, bounds=loss.bounds or bounds)


def _apart(losses: Sequence[Contender]) -> list[Contender]:
    """Give losses without those that are alike, and number names that are not unique."""
    unique = list({(each.formula, each.loss.bounds): each for each in losses}.values())
    names = [each.name for each in unique]
    return [
        each._replace(name=f"{each.name}-{names[:j].count(each.name) + 1}")
        if names.count(each.name) > 1
        else each
        for j, each in enumerate(unique)
    ]


class Transfer(NamedTuple):
    """What a transfer tests, where."""

    losses: list[Contender]
    cells: dict[str, ConfigDict]
    finished: dict[str, dict[str, Any]]  # results of cells
    open: dict[str, Setup]  # the other cells


def prepare_transfer(config: ConfigDict, workdir: Path, console: Console) -> Transfer:
    """Build all cells that are not finished, so that what cannot be is known before any trains.

    Raises:
      ValueError: for bad data, unknown names, values out of range or damaged results.
    """
    check_numbers(config)
    losses, every = read_given_losses(config), make_cells(config)
    for name, one in every.items():
        check_workdir(workdir / name, one.to_dict())
    open_ = {
        name: make_setup(one, console, {"transfer.losses": len(losses)})
        for name, one in every.items()
        if not (workdir / name / "results.json").exists()
    }
    finished = {name: read_results(workdir / name) for name in every if name not in open_}
    return Transfer(losses, every, finished, open_)


def run_transfer(parts: Transfer, workdir: Path, console: Console) -> dict[str, Any]:
    """Test the losses in every cell, those that are finished left out; give all results.

    This process writes in ``workdir``.
    """
    done = []
    for name, config in parts.cells.items():
        place = f"{name}, {len(done) + 1} of {len(parts.cells)}"
        console.print(place, markup=False, soft_wrap=True)
        if name in parts.finished:
            done.append(parts.finished[name])
            continue
        on = parts.open[name]
        for note in on.dataset.notes:
            console.print(f"  {note}", markup=False, soft_wrap=True)
        done.append(_test(workdir / name, config, on, parts.losses))
    rows = [row for results in done for row in results["losses"]]
    notes = [note for results in done for note in results["environment"]["data"]]
    return save_results(workdir, rows, NO_SEARCH, notes)


def _test(folder: Path, config: ConfigDict, on: Setup, losses: list[Contender]) -> dict[str, Any]:
    """Test the losses in a cell; write and give what came out."""
    claim_workdir(folder, config.to_dict())
    label = {"dataset": folder.name.removeprefix(f"{on.config.model.name}-".replace(":", "."))}
    rows = [row | label for row in compare_losses(on, losses)]
    return save_results(folder, rows, NO_SEARCH, on.dataset.notes)


def save_results(
    workdir: Path, losses: list[dict], search: dict[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    """Write the results, as JSON last but for the report, and give them."""
    environment = describe_environment(notes)
    results = {"losses": losses, "search": search, "environment": environment}
    write_atomically(workdir / "results.csv", report.make_results_csv(results))
    if report.is_matrix(results):
        write_atomically(workdir / "matrix.csv", report.make_matrix_csv(results))
    write_atomically(workdir / "results.json", json.dumps(results, indent=2))
    report.write_report(workdir)
    return results
