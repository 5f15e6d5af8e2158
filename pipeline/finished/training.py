"""Trains the recommender that stays: on all data, with what won the test."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from autolossgen import report
from autolossgen.data import Interactions, Streamed
from autolossgen.evaluation.contenders import Contender
from autolossgen.evaluation.kept import NOTHING, Kept, go_on, keep_within
from autolossgen.interfaces import Array, Data, ItemSets, RankingData
from autolossgen.ranking.contenders import RankContender
from autolossgen.ranking.fair_test import MakeModel, RankResult, make_contender_trainer
from autolossgen.ranking.scores import get_score
from autolossgen.ranking.settings import RankTestSettings
from autolossgen.ranking.trainer import make_training_pairs, to_lanes
from autolossgen.search.checkpoints import pack_state
from autolossgen.training.lanes import LaneState
from autolossgen.training.optimizers import Hyper
from autolossgen.training.random_keys import RECOMMENDER
from autolossgen.training.trainer import Trainer, make_trainer

from ..setup import Setup
from ..splits import make_all_data
from .network import to_arrays
from .readme import write_readme
from .recommender import FIELDS, Recommender, save_recommender

STAGE = "training on all data"


def keep_network(
    setup: Setup,
    contenders: Sequence[Contender],
    losses: list[dict[str, Any]],
    folder: Path,
    kept: Kept = NOTHING,
) -> None:
    """Trains the recommender of a search, and writes it and the README into the run's folder.

    Data that stay in their file leave no recommender, for who has seen what does not fit in memory.

    Args:
      setup: of the run.
      contenders: that were tested.
      losses: their records, as ``results.json`` has them.
      folder: of the run.
      kept: of the run.
    """
    winner = _find_winner(losses)
    if isinstance(setup.dataset.train, Streamed):
        setup.console.print("no recommender is kept of data that stay in their file")
    else:
        loss = next(contender for contender in contenders if contender.name == winner.name)
        rows, everything = make_all_data(setup.dataset, setup.task, **setup.config.implicit)
        record = next(record for record in losses if record["name"] == winner.name)
        state = _train_network(setup, loss, record, everything, kept)
        about = {
            "kind": "network",
            "network": {
                "model": setup.config.model.to_dict(),
                "sizes": dict(setup.dataset.sizes),
                "side_fields": {name: side.field for name, side in setup.dataset.sides.items()},
                "context": _find_context(rows),
            },
        }
        weights = to_arrays(state, setup.dataset.sides)
        pairs = {field: rows.ids[field] for field in FIELDS}
        _save(about, winner, weights, pairs, setup.dataset.ids, folder)
    write_readme(folder, losses)


def keep_ranker(
    data: RankingData,
    make_model: MakeModel,
    settings: RankTestSettings,
    contenders: Sequence[RankContender],
    results: Sequence[RankResult],
    losses: list[dict[str, Any]],
    folder: Path,
    progress: report.PhaseProgress,
    kept: Kept = NOTHING,
) -> None:
    """Trains the recommender of rankings, and writes it and the README into the run's folder.

    Args:
      data: of the run.
      make_model: builds the recommender.
      settings: of the test.
      contenders: losses that were tested.
      results: of all that was tested.
      losses: their records, as ``results.json`` has them.
      folder: of the run.
      progress: shows the training.
      kept: of the run.
    """
    winner = _find_winner(losses)
    is_winner = partial(_is_named, winner)
    result = next(filter(is_winner, results))
    liked = data.train.union(data.valid).union(data.test)
    about: dict[str, Any] = {"settings": result.settings, "num_items": data.num_items}
    weights: dict[str, np.ndarray] = {}
    if winner.formula:
        loss = next(filter(is_winner, contenders))
        about |= {"kind": "tables", "score": loss.score}
        kept = keep_within(kept, loss.name, loss.formula, result.settings)
        weights = _train_tables(data, liked, make_model, settings, loss, result, progress, kept)
    else:
        about |= {"kind": "closed_form"}  # it is fitted again where it is read: in no time
    _save(about, winner, weights, {"user": liked.users, "item": liked.items}, data.ids, folder)
    write_readme(folder, losses)


def _find_winner(losses: list[dict[str, Any]]) -> report.LossResult:
    (cell,) = report.parse_cells({"losses": losses})
    winner = report.get_winner(cell)
    assert winner is not None  # something was tested
    return winner


def _is_named(winner: report.LossResult, other: RankContender | RankResult) -> bool:
    """Whether this is what won; two long formulas may be cut to one name."""
    return (other.name, other.formula) == (winner.name, winner.formula)


def _train_network(
    setup: Setup, loss: Contender, record: Mapping[str, Any], everything: Data, kept: Kept
) -> LaneState:
    """Trains lanes that are all the same, one on each device, as long as the test found best."""
    config, task = setup.config, setup.task
    logit_grads = task.static_logit_grads([loss.loss])
    trainer = make_trainer(
        setup.make_lanes, logit_grads, batch_size=config.train.batch_size, task=task
    )
    everything = jax.device_put(everything, setup.replicated)
    few = jax.tree.map(lambda x: x[:8], setup.splits.valid)  # nobody looks at the reward
    weight_key, shuffle_key = jax.random.split(_make_key(config.seed))
    ones = jnp.ones(trainer.devices)
    state = trainer.init(jnp.repeat(weight_key[None], trainer.devices))
    penalty = _scale_penalty(setup, trainer, ones, state)
    hyper = Hyper(
        learning_rate=ones * record["learning_rate"],
        weight_decay=ones * record["weight_decay"],
        l2=ones * penalty,
    )
    kept = keep_within(kept, record["name"], record["formula"], record["learning_rate"])
    state, done = go_on(kept, STAGE, (state, np.zeros((), int)))
    with setup.progress as progress:
        progress(STAGE, int(done), record["epochs"], {})
        for epoch in range(int(done), record["epochs"]):
            key = jax.random.fold_in(shuffle_key, epoch)
            state, _ = trainer.epoch(state, ones, hyper, key, everything, few)
            progress(STAGE, epoch + 1, record["epochs"], {})
            kept.offer(STAGE, partial(pack_state, (state, np.array(epoch + 1))))
    return jax.jit(setup.make_lanes(logit_grads).replicate)(state)


def _scale_penalty(setup: Setup, trainer: Trainer, ones: Array, untrained: LaneState) -> float:
    """Returns the l2 penalty of the loss, in proportion to its gradient as in the fair test."""
    penalty = setup.config.train.l2
    if not penalty or setup.config.test.scale == "raw":
        return penalty
    factors = trainer.learning_rate_factors(ones, untrained, setup.splits.full_train)
    return penalty / float(factors[0])


def _make_key(seed: int) -> Array:
    return jax.random.fold_in(jax.random.key(seed), RECOMMENDER)


def _find_context(rows: Interactions) -> dict[str, int]:
    """Returns the commonest value of each field that is neither user nor item, such as the hour."""
    others = {field: ids for field, ids in rows.ids.items() if field not in FIELDS}
    return {field: int(np.bincount(ids).argmax()) for field, ids in others.items()}


def _train_tables(
    data: RankingData,
    liked: ItemSets,
    make_model: MakeModel,
    settings: RankTestSettings,
    loss: RankContender,
    result: RankResult,
    progress: report.PhaseProgress,
    kept: Kept,
) -> dict[str, np.ndarray]:
    """Trains two tables on all likes; a score is the product of a row of each."""
    model = make_model(liked)
    trainer = make_contender_trainer(loss, model, settings)
    pairs = make_training_pairs(liked, data.num_items, power=settings.negatives.power)
    lane = to_lanes({name: np.full(1, value) for name, value in result.settings.items()})
    weight_key, order_key = jax.random.split(_make_key(settings.seed))
    state, done = go_on(kept, STAGE, (trainer.init(weight_key[None]), np.zeros((), int)))
    epoch = int(done)
    with progress:
        progress(STAGE, epoch, result.epochs, {})
        while epoch < result.epochs:  # in the stretches of the test, after which thresholds change
            epochs = min(settings.evaluate_every, result.epochs - epoch)
            epoch += epochs
            state = trainer.train(state, lane, pairs, order_key[None], jnp.full(1, epochs))
            if trainer.reads_threshold:
                state = trainer.refresh_thresholds(state)
            progress(STAGE, epoch, result.epochs, {})
            kept.offer(STAGE, partial(pack_state, (state, np.array(epoch))))
    tables = model.embed(jax.tree.map(lambda x: x[0], state.params))
    prepare = get_score(loss.score).prepare
    return {field: np.asarray(prepare(table)) for field, table in zip(FIELDS, tables, strict=True)}


def _save(
    about: Mapping[str, Any],
    winner: report.LossResult,
    weights: Mapping[str, np.ndarray],
    pairs: Mapping[str, np.ndarray],
    own_ids: Mapping[str, Any],
    folder: Path,
) -> None:
    """Writes the recommender; its users and items are those that the data have."""
    ids = {}
    for field in FIELDS:
        rows = np.unique(pairs[field])
        known = pl.Series(own_ids[field])[rows] if field in own_ids else pl.Series(rows)
        ids[field] = pl.DataFrame({"id": known.cast(_plain_type(known)), "row": rows})
    trained = {
        "loss": {"name": winner.name, "formula": winner.formula},
        "epochs": int(winner.epochs or 0),
        "users": len(ids["user"]),
        "items": len(ids["item"]),
        "interactions": len(pairs["user"]),
    }
    seen = ItemSets.of_pairs(pairs["user"], pairs["item"], int(pairs["user"].max()) + 1)
    recommender = Recommender(about={**about, **trained}, weights=weights, ids=ids, seen=seen)
    save_recommender(recommender, folder)


def _plain_type(ids: pl.Series) -> type[pl.DataType]:
    return pl.Int64 if ids.dtype.is_integer() else pl.String
