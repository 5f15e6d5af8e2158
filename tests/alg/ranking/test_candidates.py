"""Candidates of a search for ranking losses, against the same trainings one by one."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import build_loss
from autolossgen.language.build import UNBOUNDED
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking.candidates import CandidateSettings, make_rank_candidate_trainer
from autolossgen.ranking.trainer import (
    LaneSettings,
    make_eval_split,
    make_rank_trainer,
    make_training_pairs,
)
from autolossgen.ranking.tuning import Range, propose, to_settings
from tests.helpers.dying import compute_with_deaths
from tests.helpers.ranking_sets import sets_from

pytestmark = pytest.mark.slow

USERS, ITEMS = 12, 9
LIKED = np.random.default_rng(0).random((USERS, ITEMS)) < 0.6
HELD_OUT = LIKED & (np.random.default_rng(1).random((USERS, ITEMS)) < 0.3)
TRAIN, VALID = sets_from(LIKED & ~HELD_OUT), sets_from(HELD_OUT)
SETTINGS = CandidateSettings(
    metric="ndcg@3",
    top=2,
    trials=(4, 2, 1),
    epochs=(1, 2, 3),
    learning_rate=Range(0.01, 0.5),
    constants=Range(0.1, 2.0),
    batch_size=16,
    seed=5,
)
MODEL = make_matrix_factorization(USERS, ITEMS, embedding_dim=3)
DATA = make_training_pairs(TRAIN, ITEMS)
SPLIT = make_eval_split(VALID, [TRAIN], ITEMS)
FORMULAS = {
    "softmax": "logsumexp_neg(-diff / c0)",
    "no constant": "softplus(-diff)",
    "threshold": "sigmoid((pos - threshold) / c0) * logsumexp_neg(-diff / c1)",
}


def build(formula):
    names = {name: 1.0 for name in ("c0", "c1") if name in formula}
    return build_loss(formula, family="pairwise", bounds=UNBOUNDED, **names)


def train(*losses, settings=SETTINGS):
    return make_rank_candidate_trainer(MODEL, settings)(losses, DATA, SPLIT)


def values_of(loss, settings):
    """Returns learning rate and constants of each trial."""
    ranges = {"learning_rate": settings.learning_rate}
    ranges |= dict.fromkeys(loss.constants, settings.constants)
    units = propose(ranges, settings.trials[0], number=0, seed=settings.seed, before=None)
    return to_settings(ranges, units)


@cache
def make_trainer(formula):
    """Returns the trainer of a formula; all of its trials share its compiled programs."""
    return make_rank_trainer(
        MODEL, build(formula), score="cosine", batch_size=16, top=SETTINGS.top, cutoffs=(3,)
    )


@cache
def train_alone(formula, trial, epochs):
    """Returns the metric after so many epochs of one trial, which trains in a lane of its own."""
    loss, trainer = build(formula), make_trainer(formula)
    values = {name: jnp.float32(x[trial])[None] for name, x in values_of(loss, SETTINGS).items()}
    lanes = LaneSettings(values.pop("learning_rate"), jnp.zeros(1), values)
    weights, orders = (key[None] for key in jax.random.split(jax.random.key(SETTINGS.seed)))
    state = trainer.init(weights)
    for _ in range(epochs):
        state = trainer.train(state, lanes, DATA, orders, jnp.ones(1, jnp.int32))
        state = trainer.refresh_thresholds(state)
    return float(np.mean(trainer.evaluate(state, SPLIT).users["ndcg@3"]))


@pytest.mark.parametrize("case", FORMULAS)
def test_the_best_trial_of_successive_halving_rewards(case):
    formula = FORMULAS[case]
    best = {trial: train_alone(formula, trial, 1) for trial in range(4)}
    for count, epochs in ((2, 3), (1, 6)):
        going_on = sorted(best, key=lambda trial: -best[trial])[:count]
        for trial in going_on:
            best[trial] = max(best[trial], train_alone(formula, trial, epochs))
    (result,) = train(build(formula))
    winner = max(best, key=lambda trial: best[trial])
    assert result.reward == pytest.approx(best[winner], abs=1e-6)
    wanted = {name: values[winner] for name, values in values_of(build(formula), SETTINGS).items()}
    assert result.settings == pytest.approx(wanted, rel=1e-6)


def test_results_come_in_the_order_of_the_losses():
    first, second = (build(FORMULAS[case]) for case in ("softmax", "no constant"))
    one_by_one = [*train(first), *train(second)]
    assert train(first, second) == one_by_one
    assert train() == []


def test_a_loss_that_diverges_earns_nothing_and_stops_no_other():
    bad = build_loss("neg * 1e38 * 1e38 - pos", family="pairwise", bounds=UNBOUNDED)
    lost, kept = train(bad, build(FORMULAS["no constant"]))
    assert lost.reward == 0
    assert kept.reward > 0


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"trials": (2, 3), "epochs": (1, 1)}, "at most as many trials as the one before"),
        ({"trials": (2,)}, "the same number of stages"),
        ({"trials": (), "epochs": ()}, "the same number of stages"),
        ({"epochs": (1, 0, 1)}, "each at least 1"),
        ({"metric": "auc"}, "the metric is a name and a number of places"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, fragment):
    with pytest.raises(ValueError, match=fragment):
        make_rank_candidate_trainer(MODEL, SETTINGS._replace(**change))


def test_what_is_kept_is_not_trained_again():
    losses = [build(formula) for formula in ("logsumexp_neg(-diff / c0)", "softplus(-diff)")]
    results, deaths = compute_with_deaths(
        lambda kept: make_rank_candidate_trainer(MODEL, SETTINGS)(losses, DATA, SPLIT, kept=kept)
    )
    assert deaths == len(losses)
    for result, wanted in zip(results, train(*losses), strict=True):
        assert result == wanted
