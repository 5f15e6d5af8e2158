"""Transfer: given losses in the fair test of every model on every data set asked for."""

import runpy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import PAIRWISE_LOSSES, POINTWISE_LOSSES, report
from autolossgen.configs.base import get_config
from autolossgen.configs.command_line import find_old_key, find_shipped_configs, locate_config
from autolossgen.configs.topk import is_of_rankings
from autolossgen.data import Dataset, take_fingerprint
from autolossgen.evaluation.contenders import Contender, make_baselines, make_contender
from autolossgen.evaluation.kept import Kept
from autolossgen.interfaces import Bounds, RankingData
from autolossgen.language.families import Family
from autolossgen.search.space import load_family, make_space
from autolossgen.suggest import did_you_mean
from autolossgen.training.tasks import Task, make_task

from .checks import check_numbers, check_sizes
from .kept import keep_in
from .rankings.cells import MODELS, is_pointwise, make_rank_cells
from .rankings.run import TopK, make_topk, run_topk
from .save import NO_SEARCH, save_results
from .setup import Setup, make_setup
from .test import compare_losses
from .workdir import check_workdir, claim_workdir, read_results


class Transfer(NamedTuple):
    """The losses of a transfer, and the cells, each a model on a data set, that test them."""

    losses: list[Contender]
    configs: dict[str, ConfigDict]  # of each cell, by the name of its folder
    finished: dict[str, dict[str, Any]]  # results of the finished cells
    setups: dict[str, Setup | TopK]  # of the other cells; of rankings the latter


def make_transfer(config: ConfigDict, workdir: Path, console: Console) -> Transfer:
    """Builds all cells that are not finished, so that bad values are refused before any trains.

    Raises:
      ValueError: for bad data, unknown names, values out of range or damaged results.
    """
    check_numbers(config)
    check_sizes(config)
    configs = make_cells(config)
    has_pointwise = not all(is_of_rankings(cell) for cell in configs.values())
    losses = read_given_losses(config) if has_pointwise else []  # rankings read them by themselves
    if any(is_of_rankings(cell) for cell in configs.values()):
        for source in filter(is_pointwise, config.transfer.losses):
            line = f"rankings do not test {source}, a loss of predictions and labels"
            console.print(line, markup=False, soft_wrap=True)
    for name, cell_config in configs.items():
        check_workdir(workdir / name, cell_config.to_dict())
    setups = {
        name: make_topk(cell_config, console)
        if is_of_rankings(cell_config)
        else make_setup(cell_config, console, {"transfer.losses": len(losses)})
        for name, cell_config in configs.items()
        if not (workdir / name / "results.json").exists()
    }
    finished = {name: read_results(workdir / name) for name in configs if name not in setups}
    return Transfer(losses=losses, configs=configs, finished=finished, setups=setups)


def run_transfer(
    transfer: Transfer,
    console: Console,
    folder: Path,
    asked: Callable[[], bool],
    trackers: report.Trackers,
) -> dict[str, Any]:
    """Tests the losses in every cell that is not finished.

    Args:
      transfer: losses and cells.
      console: to print on.
      folder: where this process writes.
      asked: whether the user asked to stop.
      trackers: that are told what is trained.

    Returns:
      What ``results.json`` holds: the records of all cells.

    Raises:
      Stopped: if the user asked to stop; what is finished is kept.
    """
    results = []
    for number, (name, config) in enumerate(transfer.configs.items(), start=1):
        place = f"{name}, {number} of {len(transfer.configs)}"
        console.print(place, markup=False, soft_wrap=True)
        if name in transfer.finished:
            results.append(transfer.finished[name])
            continue
        setup = transfer.setups[name]
        claim_workdir(folder / name, config.to_dict(), data=take_fingerprint(_get_data(setup)))
        follow = trackers.make_follower(f"{name}/")
        if isinstance(setup, TopK):
            with setup.progress.followed_by(follow):
                results.append(run_topk(setup, folder / name, asked))
            continue
        for note in setup.dataset.notes:
            console.print(f"  {note}", markup=False, soft_wrap=True)
        kept = keep_in(folder / name, asked, partial(console.print, markup=False, soft_wrap=True))
        with setup.progress.followed_by(follow):
            results.append(_test_cell(folder / name, setup, transfer.losses, kept))
    records = [record for cell in results for record in cell["losses"]]
    notes = [note for cell in results for note in cell["environment"]["data"]]
    return save_results(folder, records, NO_SEARCH, notes)


def take_fingerprints(transfer: Transfer) -> dict[str, dict[str, Any]]:
    """Returns the fingerprints of the data of all cells that are not finished, by their names."""
    return {name: take_fingerprint(_get_data(setup)) for name, setup in transfer.setups.items()}


def _get_data(setup: Setup | TopK) -> Dataset | RankingData:
    return setup.data if isinstance(setup, TopK) else setup.dataset


def _test_cell(folder: Path, setup: Setup, losses: list[Contender], kept: Kept) -> dict[str, Any]:
    """Tests the losses in a cell; writes and returns its results."""
    dataset = folder.name.removeprefix(f"{setup.config.model.name}-".replace(":", "."))
    records = [record | {"dataset": dataset} for record in compare_losses(setup, losses, kept)]
    return save_results(folder, records, NO_SEARCH, setup.dataset.notes)


def make_cells(config: ConfigDict) -> dict[str, ConfigDict]:
    """Returns the config of every model on every data set of ``config.transfer``, by folder name.

    A data set is a shipped config's name, or a config file of one's own, with ``=PATH`` behind it
    where the data lie elsewhere. Its data section and batch size are taken; all else is ``config``.

    Raises:
      ValueError: if one is named twice, is no config or wants other losses, or if ``config`` sets
        what a cell takes from its data set's config.
    """
    _check_unused(config)
    cells = {}
    for source in config.transfer.datasets:
        name, _, path = source.partition("=")
        data_config = _data_config(name)
        if is_of_rankings(data_config):
            of_models, dataset = make_rank_cells(config, data_config), Path(path or name).stem
        else:
            of_models, dataset = _make_cells_of(name, data_config, config), Path(name).stem
        for model, cell in of_models.items():
            if path:
                cell.data.path = path
            folder = f"{model}-{dataset}".replace(":", ".")
            if folder in cells:
                raise ValueError(f"transfer names {model!r} on {dataset!r} twice")
            cells[folder] = cell
    if not cells:
        raise ValueError("transfer needs at least one of transfer.models and transfer.datasets")
    return cells


def _make_cells_of(name: str, data_config: ConfigDict, config: ConfigDict) -> dict[str, ConfigDict]:
    """Returns the config of every model on one data set."""
    _check_agrees(name, data_config, config)
    cells = {}
    for model in config.transfer.models:
        if model in MODELS:
            continue  # of rankings
        if model in cells:
            raise ValueError(f"transfer names {model!r} on {Path(name).stem!r} twice")
        cell = ConfigDict(config.to_dict())
        cell.data, cell.train.batch_size = data_config.data, data_config.train.batch_size
        cell.model.name = model
        cells[model] = cell
    return cells


def _check_unused(config: ConfigDict) -> None:
    """Checks that what no cell would take from ``config`` is as in ``base``."""
    datasets = "the configs that transfer.datasets names"
    sources = {"data": datasets, "train.batch_size": datasets, "model.name": "transfer.models"}
    for key, source in sources.items():
        value, default = attrgetter(key)(config), attrgetter(key)(get_config())
        if difference := _difference(key, value, default):
            in_file = "" if key == "model.name" else ", in a config file of your own if need be"
            raise ValueError(
                f"a transfer takes {key} from {source}, so nothing would read {difference}: set it "
                f"there{in_file}"
            )


def _difference(key: str, value: Any, default: Any) -> str:
    """Returns the first key whose value is not the default, with that value, or ""."""
    if not isinstance(value, ConfigDict):
        return "" if value == default else f"{key}={value!r}"
    # The name says most: another data set has other keys.
    order = sorted(value, key=lambda name: name != "name")
    differences = (_difference(f"{key}.{name}", value[name], default.get(name)) for name in order)
    return next(filter(None, differences), "")


def _check_agrees(name: str, data_config: ConfigDict, config: ConfigDict) -> None:
    """Checks that a data set's config asks for no losses that this transfer does not test."""
    if data_config.transfer.losses:
        raise ValueError(f"transfer.datasets has {name!r}, which is a transfer itself")
    defaults = get_config()
    for key in ("space.family", "search.reward"):
        wanted, given = attrgetter(key)(data_config), attrgetter(key)(config)
        if wanted not in (attrgetter(key)(defaults), given):
            raise ValueError(
                f"transfer.datasets has {name!r}, whose {key} is {wanted!r}, and here it is "
                f"{given!r}: give --config.{key}={wanted}, or another config of the same data"
            )


def _data_config(name: str) -> ConfigDict:
    """Returns the config of a data set, which may have a preset behind it."""
    file, colon, preset = locate_config(str(Path(name).expanduser())).partition(".py:")
    path = Path(file + ".py" if colon else file)
    if path.suffix != ".py" or not path.is_file():
        hint = did_you_mean(name, find_shipped_configs(), otherwise="")
        raise ValueError(
            f"transfer.datasets has {name!r}, which is no config in configs/ nor a file{hint}"
        )
    try:
        data_config = runpy.run_path(str(path))["get_config"](*[preset] * bool(preset))
    except Exception as error:  # a config is a Python file, and can fail in any way
        why = find_old_key(str(error)) or f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} gives no config: {why}") from error
    needed = ("data", "train", "space", "search", "contenders")
    if not isinstance(data_config, ConfigDict) or not set(needed) <= set(data_config):
        raise ValueError(f"{path} gives no config with the sections {', '.join(needed)}")
    return data_config.unlock()


def read_given_losses(config: ConfigDict) -> list[Contender]:
    """Builds the losses of ``config.transfer``, which are tested next to the baselines.

    Each is a name, a formula, or a path: of a run folder, whose tested found losses are taken, or
    of a hall of fame, whose first ``contenders.found`` sound losses are. Those of a run are clipped
    as its ``config.json`` says, formulas as ``space.bounds`` does.

    Raises:
      ValueError: for what is none of these, or a name of the baselines.
    """
    family = load_family(config.space.family, config.space.extra_operators)
    task = make_task(family, config.train.negatives, config.search.reward)
    section = config.contenders
    baselines = make_baselines(task, baselines=section.baselines, smoothing=section.smoothing)
    names = {baseline.name for baseline in baselines}
    losses = [
        loss
        for source in config.transfer.losses
        for loss in _read_losses(source, task, config)
        if loss.name not in names
    ]
    return _without_duplicates(losses)


def _read_losses(source: str, task: Task, config: ConfigDict) -> Sequence[Contender]:
    named = {**POINTWISE_LOSSES, **PAIRWISE_LOSSES}
    if source in named:
        smoothing = config.contenders.smoothing
        return make_baselines(task, baselines=(source,), smoothing=smoothing)
    bounds = make_space(**config.space).bounds
    path = Path(source).expanduser()
    if path.is_dir() or path.suffix == ".csv":
        losses = report.read_found_losses(path, config.contenders.found)
        return [_contender_of_run(loss, source, task.family, bounds) for loss in losses]
    try:
        return [make_contender("given", source, family=task.family, bounds=bounds)]
    except ValueError as error:
        hint = did_you_mean(source, named, otherwise="")
        raise ValueError(
            f"transfer.losses has {source!r}, which is no name of a loss{hint}, no folder or CSV "
            f"file that is there, and no formula: {error}"
        ) from error


def _contender_of_run(
    loss: report.FoundLoss, source: str, family: Family, bounds: Bounds
) -> Contender:
    """Builds what another run found, under the bounds that it was found with, if known."""
    if (loss_family := loss.family or family.name) != family.name:
        raise ValueError(
            f"transfer.losses has {source!r}, whose losses are {loss_family}, and here they are "
            f"{family.name}; give --config.space.family={loss_family}"
        )
    return make_contender(loss.name, loss.formula, family=family, bounds=loss.bounds or bounds)


def _without_duplicates(losses: Sequence[Contender]) -> list[Contender]:
    """Returns each loss once, with numbers behind names that are not unique."""
    by_loss: Mapping[Any, Contender] = {(loss.formula, loss.loss.bounds): loss for loss in losses}
    unique = list(by_loss.values())
    names = [loss.name for loss in unique]
    return [
        loss._replace(name=f"{loss.name}-{names[:j].count(loss.name) + 1}")
        if names.count(loss.name) > 1
        else loss
        for j, loss in enumerate(unique)
    ]
