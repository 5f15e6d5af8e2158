"""What all phases of a run share: data, task, recommender, baselines and the fair test."""

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict
from rich.console import Console

from autolossgen import data, models, report
from autolossgen.evaluation.contenders import Contender, make_baselines
from autolossgen.evaluation.fair_test import FairTest, make_fair_test
from autolossgen.interfaces import Recommender, StreamedData
from autolossgen.search.space import load_family
from autolossgen.suggest import did_you_mean
from autolossgen.training.chunks import compute_subsample_size
from autolossgen.training.devices import make_lane_mesh
from autolossgen.training.lanes import Lanes, make_lanes
from autolossgen.training.loss_gradients import LogitGradFn
from autolossgen.training.memory_budget import estimate_memory
from autolossgen.training.optimizers import OPTIMIZERS, Optimizer
from autolossgen.training.tasks import Task, make_task

from .checks import check_fits_memory, max_examples_at_once
from .splits import EVAL_SPLITS, RunSplits, make_splits


class Setup(NamedTuple):
    """Everything that the phases of a run share, built and checked before anything trains."""

    config: ConfigDict
    console: Console
    dataset: data.Dataset
    splits: RunSplits
    task: Task
    replicated: NamedSharding  # of what every device holds whole
    make_lanes: Callable[[LogitGradFn], Lanes]
    baselines: list[Contender]
    fair_test: FairTest
    progress: report.PhaseProgress


def make_setup(config: ConfigDict, console: Console, tested: Mapping[str, int]) -> Setup:
    """Builds what the phases of a run share.

    Args:
      config: of the run.
      console: to print on.
      tested: config key -> the largest number of losses that are tested next to the baselines.

    Raises:
      ValueError: for bad data, unknown names or values out of range.
    """
    config = _with_learning_rates(config)
    family = load_family(config.space.family, config.space.extra_operators)
    task = make_task(family, config.train.negatives, config.search.reward)
    mesh = make_lane_mesh(config.devices, count_lanes(config))
    optimizer = _make_optimizer(config)
    section = config.contenders
    baselines = make_baselines(task, baselines=section.baselines, smoothing=section.smoothing)
    dataset = data.build(**config.data)
    recommender = models.build(**config.model, sizes=dataset.sizes, sides=dataset.sides)
    lanes = partial(_make_lanes, recommender, optimizer, mesh)
    parts, notes = make_splits(dataset, task, **config.implicit)
    config, decays = _scale_weight_decays(config, compute_subsample_size(parts.full_train, 0))
    dataset = dataset._replace(notes=(*dataset.notes, *notes, *decays))
    replicated = NamedSharding(mesh, PartitionSpec())
    splits = jax.device_put(parts, replicated)
    contenders = {"contenders.baselines": len(baselines), **tested}
    init = lanes(task.static_logit_grads([baseline.loss for baseline in baselines])).init
    _check_memory(config, parts, task, recommender, optimizer, init, mesh, contenders)
    progress = report.PhaseProgress(console)
    settings = get_training_settings(config, progress)
    fair_test = make_fair_test(lanes, **config.test, **settings, task=task)
    return Setup(
        config=config,
        console=console,
        dataset=dataset,
        splits=splits,
        task=task,
        replicated=replicated,
        make_lanes=lanes,
        baselines=baselines,
        fair_test=fair_test,
        progress=progress,
    )


def get_training_settings(config: ConfigDict, progress: report.PhaseProgress) -> dict[str, Any]:
    """Returns the keywords that promotion and the fair test share."""
    return {
        "batch_size": config.train.batch_size,
        "l2": config.train.l2,
        "seed": config.seed,
        "progress": progress,
    }


def count_lanes(config: ConfigDict) -> dict[str, int]:
    """Returns config key -> lanes that train next to each other."""
    return {f"{phase}.num_lanes": config[phase].num_lanes for phase in ("generation", "promote")}


def look_up(key: str, name: str, known: Mapping[str, Any]) -> Any:
    """Returns what a config key names.

    Raises:
      ValueError: for an unknown name.
    """
    if name not in known:
        hint = did_you_mean(name, known, otherwise="")
        raise ValueError(f"{key} {name!r} is not known{hint} (known: {', '.join(known)})")
    return known[name]


def _with_learning_rates(config: ConfigDict) -> ConfigDict:
    """Returns the config with the model's own learning rates where it leaves them open."""
    rates = models.get_learning_rates(config.model.name)
    defaults: dict[str, Any] = {
        "promote.learning_rates": rates,
        "test.learning_rates": rates,
        "generation.learning_rate": rates[0],
    }
    unset = {key: value for key, value in defaults.items() if attrgetter(key)(config) is None}
    if unset and config.optimizer.name in OPTIMIZERS.keys() - {"sgd"}:
        raise ValueError(
            f"the model's own learning rates are those of sgd: with optimizer.name "
            f"{config.optimizer.name!r} give {', '.join(unset)}, as preset adagrad does"
        )
    settled = config.copy_and_resolve_references()
    settled.update_from_flattened_dict(unset)
    return settled


def _scale_weight_decays(config: ConfigDict, num_interactions: int) -> tuple[ConfigDict, list[str]]:
    """Returns the config with weight decays for so many interactions, and a note if they change.

    Decay is the gradient of a prior, and each step adds all of it to the mean gradient of a batch.
    Next to the sum over all examples, which is what weighs against a prior, it thus counts as often
    as there are examples.
    """
    given = config.train.decay_interactions
    if not 0 < given < num_interactions:
        return config, []
    share = given / num_interactions
    scaled = config.copy_and_resolve_references()
    scaled.generation.weight_decay *= share
    for phase in (scaled.promote, scaled.test):
        phase.weight_decays = tuple(share * decay for decay in phase.weight_decays)
    note = (
        f"weight decays are multiplied by {share:.3g}: they are given for "
        f"{given:,} interactions (train.decay_interactions)"
    )
    return scaled, [note]


def _make_optimizer(config: ConfigDict) -> Optimizer:
    section = config.optimizer
    make = look_up("optimizer.name", section.name, OPTIMIZERS)
    return make(clip=config.train.clip, **section.get(section.name, {}))


def _make_lanes(
    recommender: Recommender, optimizer: Optimizer, mesh: Mesh, logit_grads: LogitGradFn
) -> Lanes:
    return make_lanes(recommender, logit_grads, optimizer=optimizer, mesh=mesh)


def _check_memory(
    config: ConfigDict,
    splits: RunSplits,
    task: Task,
    recommender: Recommender,
    optimizer: Optimizer,
    init: Callable[[jax.Array], Any],
    mesh: Mesh,
    contenders: Mapping[str, int],
) -> None:
    """Checks that the lanes of all phases fit the devices."""
    most = max_examples_at_once(config, splits.train, splits.full_train)
    need = estimate_memory(
        recommender,
        init,
        config.train.batch_size * task.group,
        most * task.group,
        sums=optimizer.scale_free or config.train.clip is not None,
        eval_rows=max(getattr(splits, name).label.shape[0] for name in EVAL_SPLITS),
        devices=mesh.size,
    )
    streamed = isinstance(splits.train, StreamedData)
    check_fits_memory(config, need, count_lanes(config), mesh, contenders, streamed)
