"""The fair test of rankings: on data with two groups, and with trainings that go as scripted."""

from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen.language.named_losses import PAIRWISE_LOSSES
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking import fair_test
from autolossgen.ranking.contenders import make_rank_contender
from autolossgen.ranking.courses import plan_epochs
from autolossgen.ranking.fair_test import MASKS, run_rank_test
from autolossgen.ranking.seeds import count_diverged
from autolossgen.ranking.settings import RankTestSettings, check_settings
from autolossgen.ranking.trainer import Evaluation, RankState, RankTrainer, make_rank_trainer
from autolossgen.ranking.tuning import Range, to_settings
from tests.helpers.dying import compute_with_deaths
from tests.helpers.ranking_sets import make_two_groups, sets_from

pytestmark = pytest.mark.slow

DATA = make_two_groups()
SETTINGS = RankTestSettings(
    metric="ndcg@3",
    cutoffs=(3, 20),
    top=3,
    trials=(2,),
    seeds=2,
    epochs=2,
    evaluate_every=1,
    batch_size=8,
    learning_rate=Range(0.05, 0.2),
)
MODEL = make_matrix_factorization(DATA.num_users, DATA.num_items, embedding_dim=4)
CONTENDER = make_rank_contender("softmax")
compile_once = cache(make_rank_trainer)


def matrix_of(part):
    return part.as_matrix(DATA.num_items)


def run_recorded(patch, data):
    """Returns the result of a test, and the trainers' calls."""
    calls = SimpleNamespace(inits=[], epochs=[], evaluated=[], graphs=[], progress=[])

    def make_recording(*args, **options):
        trainer = compile_once(*args, **options)

        def train(state, settings, positives, keys, epochs):
            assert epochs.tolist() == [1] * len(keys)
            calls.epochs.append((len(keys), ~np.asarray(positives.unknown), len(positives.items)))
            return trainer.train(state, settings, positives, keys, epochs)

        def evaluate(state, split):
            calls.evaluated.append(split)
            return trainer.evaluate(state, split)

        def init(keys):
            calls.inits.append(len(keys))
            return trainer.init(keys)

        return trainer._replace(init=init, train=train, evaluate=evaluate)

    def make_model(known):
        calls.graphs.append(known)
        return MODEL

    def follow(*progress):
        calls.progress.append(progress)

    patch.setattr(fair_test, "make_rank_trainer", make_recording)
    return run_rank_test(CONTENDER, data, make_model, SETTINGS, progress=follow), calls


@pytest.fixture(scope="module")
def recorded():
    """Returns a test of the softmax, and the calls of its trainers."""
    with pytest.MonkeyPatch.context() as patch:
        return run_recorded(patch, DATA)


def test_a_loss_finds_the_groups(recorded):
    """At random, about a sixth of what is left would be right."""
    result, _ = recorded
    users = np.flatnonzero(DATA.test.counts)
    assert (result.name, result.score, result.found) == ("softmax", "cosine", False)
    for mask in MASKS:
        assert result.test[mask].keys() == result.valid.keys()
        assert result.test[mask]["ndcg@3"].shape == (SETTINGS.seeds, len(users))
        assert result.lists[mask]["coverage@3"].shape == (SETTINGS.seeds,)
    assert result.test["train+valid"]["ndcg@3"].mean() > 0.6
    # Items held out for validation count as errors.
    assert result.test["train"]["ndcg@3"].mean() < result.test["train+valid"]["ndcg@3"].mean()


def test_trainings_and_epochs_are_those_that_took_place(recorded):
    result, calls = recorded
    assert result.num_trainings == sum(calls.inits) == 2 + 2 * 2
    assert result.num_epochs == sum(lanes for lanes, _, _ in calls.epochs)
    assert 1 <= result.epochs <= 2
    assert result.num_epochs == 2 * 2 + 2 * 2 + 2 * result.epochs
    assert result.seconds > 0


def test_progress_counts_the_epochs_of_all_trainings(recorded):
    result, calls = recorded
    stages = list(dict.fromkeys(stage for stage, *_ in calls.progress))
    assert stages == ["tuning", "test", "refit"]
    # Two trials, two seeds, and the same seeds again, of two epochs each at most.
    assert {total for _, _, total, _ in calls.progress} == {12}
    done = [done for _, done, _, _ in calls.progress]
    assert done[:4] == [0, 2, 4, 4]
    assert done == sorted(done)
    assert done[-1] == 8 + 2 * result.epochs
    scores = [scores["softmax"] for *_, scores in calls.progress if scores]
    assert scores[1] == pytest.approx(max(result.trials.scores), abs=1e-6) or scores[1] < scores[0]
    assert 0 < max(scores) <= 1


def test_the_plan_halves_trials_as_the_tuning_does():
    halved = SETTINGS._replace(trials=(4,), epochs=4, halving=1, seeds=3)
    # 4 lanes for one epoch, 2 for one, 1 for two; twice three seeds for four.
    assert plan_epochs(halved) == (4 + 2 + 1 + 1, 12, 12)


def test_masks_hide_what_a_recommender_was_trained_on(recorded):
    _, calls = recorded
    train, valid, test = map(matrix_of, (DATA.train, DATA.valid, DATA.test))
    for _, known, pairs in calls.epochs[:4]:  # tuning and testing
        np.testing.assert_array_equal(known, train)
        assert pairs == train.sum()
    for _, known, pairs in calls.epochs[4:]:
        np.testing.assert_array_equal(known, train | valid)
        assert pairs == (train | valid).sum()
    np.testing.assert_array_equal(matrix_of(calls.graphs[0]), train)
    np.testing.assert_array_equal(matrix_of(calls.graphs[1]), train | valid)
    tested = [split for split in calls.evaluated if finds(split, test)]
    assert len(tested) == len(MASKS)  # once each
    for split, masked in zip(tested, (train, train | valid), strict=True):
        np.testing.assert_array_equal(split.masked, masked[np.asarray(split.relevant.users)])
    for split in calls.evaluated:
        if not finds(split, test):
            assert finds(split, valid)
            np.testing.assert_array_equal(split.masked, train[np.asarray(split.relevant.users)])


def finds(split, wanted):
    """Whether the items to be found are these."""
    found = np.zeros((DATA.num_users, DATA.num_items + 1), bool)
    found[np.asarray(split.relevant.users)[:, None], np.asarray(split.relevant.items)] = True
    return np.array_equal(found[:, :-1], wanted)


def test_the_same_call_gives_the_same_to_the_last_bit(recorded, monkeypatch):
    first, (again, _) = recorded[0], run_recorded(monkeypatch, DATA)
    assert_same_choices(first, again)
    for name in ("test", "lists"):
        for mask in MASKS:
            for metric, values in getattr(first, name)[mask].items():
                np.testing.assert_array_equal(getattr(again, name)[mask][metric], values)


def assert_same_choices(first, other):
    for name in ("settings", "epochs", "edges", "num_trainings", "num_epochs"):
        assert getattr(other, name) == getattr(first, name), name
    assert other.trials.names == first.trials.names
    np.testing.assert_array_equal(other.trials.units, first.trials.units)
    np.testing.assert_array_equal(other.trials.scores, first.trials.scores)
    for metric, values in first.valid.items():
        np.testing.assert_array_equal(other.valid[metric], values)


def test_nothing_is_chosen_by_the_test(recorded, monkeypatch):
    """With other items to be found in the test, all but the test's metrics is the same."""
    known = matrix_of(DATA.train) | matrix_of(DATA.valid)
    order = np.where(known, np.inf, np.random.default_rng(0).random(known.shape))
    rank = order.argsort(1).argsort(1)
    other = sets_from(rank < DATA.test.counts[:, None])
    first, (result, _) = recorded[0], run_recorded(monkeypatch, DATA._replace(test=other))
    assert_same_choices(first, result)
    for mask in MASKS:
        before, after = (r.test[mask]["ndcg@3"].mean() for r in (first, result))
        assert after < before - 0.2


CURVE = {2: 0.125, 4: 0.375, 6: 0.25, 8: 0.25, 10: 1.0}
"""Validation after so many epochs: it falls twice after the fourth."""


def make_scripted(calls):
    """Returns what makes trainers that follow ``CURVE``; of three lanes, the first has diverged."""

    def init(keys):
        return RankState(jnp.zeros(len(keys)), (), jnp.zeros(len(keys)), jnp.zeros(len(keys)))

    def train(state, settings, positives, keys, epochs):
        calls.extend([("epoch", len(keys), settings)] * int(epochs[0]))
        new = state._replace(params=state.params + epochs)
        state.params.delete()  # a trainer donates the state
        return new

    def refresh(state):
        calls.append(("refresh", len(state.params), int(state.params[0])))
        return state._replace(threshold=jnp.copy(state.params))

    def evaluate(state, split):
        done, lanes = int(state.params[0]), len(state.params)
        assert np.all(state.threshold == done - done % 2)  # of the last even epoch
        values = np.full((lanes, len(split.masked)), CURVE[done])
        values[: lanes == 3] = np.nan
        return Evaluation({"ndcg@3": values}, {"coverage@3": np.full(lanes, done)})

    trainer = RankTrainer(init, train, refresh, evaluate, None, reads_threshold=True)
    return lambda *args, **options: trainer


def test_a_test_stops_after_its_patience_and_tests_the_best_epoch(monkeypatch):
    calls = []
    monkeypatch.setattr(fair_test, "make_rank_trainer", make_scripted(calls))
    settings = SETTINGS._replace(trials=(3, 3), epochs=10, evaluate_every=2, patience=2)
    settings = settings._replace(refresh_every=2)
    result = run_rank_test(CONTENDER, DATA, lambda known: MODEL, settings)
    assert result.epochs == 4
    np.testing.assert_array_equal(result.trials.scores, [-np.inf, 0.375, 0.375] * 2)
    # Two rounds of 3 trials and the seeds stop at 8; then all is trained for 4.
    epochs = [lanes for call, lanes, _ in calls if call == "epoch"]
    assert epochs == [3] * 16 + [2] * 8 + [2] * 4
    assert result.num_epochs == sum(epochs)
    assert result.num_trainings == 2 * 3 + 2 * 2
    refreshed = [done for call, lanes, done in calls if call == "refresh" and lanes == 2]
    assert refreshed == [2, 4, 6, 8, 2, 4]
    np.testing.assert_array_equal(result.valid["ndcg@3"], 0.375)
    assert result.diverged == dict.fromkeys(MASKS, 0)
    for mask in MASKS:
        np.testing.assert_array_equal(result.lists[mask]["coverage@3"], [4, 4])
        np.testing.assert_array_equal(result.test[mask]["ndcg@3"], 0.375)
    check_that_seeds_have_the_settings_of(result, [s for c, n, s in calls if c == "epoch"][-1])


def test_seeds_that_diverged_are_counted():
    good, bad = np.ones((4, 2, 4), np.float32), np.full((4, 5), 1e9, np.float32)
    bad[1, 4], bad[2, 0], bad[3, 2] = np.nan, np.inf, 1e37  # the last has a norm that is none
    state = RankState({"user": jnp.asarray(good), "item": jnp.asarray(bad)}, (), None, None)
    assert count_diverged(state) == 3


def check_that_seeds_have_the_settings_of(result, lanes):
    """Checks that seeds are trained with the settings of the best trial, the second."""
    ranges = {
        "learning_rate": SETTINGS.learning_rate,
        "weight_decay": SETTINGS.weight_decay,
        **CONTENDER.constants,
    }
    best = {name: value[1] for name, value in to_settings(ranges, result.trials.units).items()}
    assert result.settings == pytest.approx(best)
    assert result.settings.keys() == {"learning_rate", "weight_decay", "temperature"}
    np.testing.assert_allclose(lanes.learning_rate, [best["learning_rate"]] * 2, rtol=1e-6)
    np.testing.assert_allclose(lanes.weight_decay, [best["weight_decay"]] * 2, rtol=1e-6)
    np.testing.assert_allclose(lanes.constants["temperature"], [best["temperature"]] * 2, rtol=1e-6)


def test_a_test_whose_trainings_only_get_better_ends_with_all_epochs(monkeypatch):
    calls = []
    monkeypatch.setattr(fair_test, "make_rank_trainer", make_scripted(calls))
    monkeypatch.setitem(CURVE, 5, 0.5)
    settings = SETTINGS._replace(epochs=5, evaluate_every=2, refresh_every=2, patience=1)
    result = run_rank_test(CONTENDER, DATA, lambda known: MODEL, settings)
    assert result.epochs == 5  # where there is an evaluation, though 5 is odd
    assert "epochs at their highest" in result.edges
    assert result.num_epochs == 3 * 2 * 5


def test_every_pairwise_loss_is_a_baseline():
    baselines = [make_rank_contender(name) for name in PAIRWISE_LOSSES]
    for contender, (name, named) in zip(baselines, PAIRWISE_LOSSES.items(), strict=True):
        assert (contender.name, contender.score) == (name, named.score)
        assert not contender.found
        for constant, tried in contender.constants.items():
            # The published constant can be tried.
            assert tried.low <= contender.loss.constants[constant] <= tried.high
            assert tried.log == (tried.low > 0)
    assert {"bpr", "softmax", "sl_at_k"} <= {contender.name for contender in baselines}
    assert make_rank_contender("softmax", score="dot").score == "dot"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "ndcg@7"}, "the metric is one of ndcg@3, ndcg@20.*got 'ndcg@7'"),
        ({"trials": ()}, "the test needs trials of at least 1, got 0"),
        ({"trials": (3, 0)}, "the test needs trials of at least 1, got 0"),
        ({"seeds": 0}, "the test needs seeds of at least 1, got 0"),
        ({"epochs": 0}, "the test needs epochs of at least 1, got 0"),
        ({"evaluate_every": 0}, "the test needs evaluate_every of at least 1, got 0"),
        ({"refresh_every": 0}, "the test needs refresh_every of at least 1, got 0"),
        ({"top": 0}, "the test needs top of at least 1, got 0"),
        ({"batch_size": 0}, "the test needs batch_size of at least 1, got 0"),
        ({"cutoffs": ()}, "the test needs cutoffs of at least 1, got 0"),
        ({"patience": -1}, "the test needs patience of at least 1, got -1"),
    ],
)
def test_settings_that_cannot_be_are_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        check_settings(SETTINGS._replace(**wrong))
    check_settings(SETTINGS)


def test_a_pointwise_loss_is_no_contender():
    with pytest.raises(ValueError, match="trained by pairwise losses, got 'bce'"):
        make_rank_contender("bce")
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        make_rank_contender("sofmax")


def test_one_that_is_killed_wherever_it_can_be_ends_as_one_that_is_not(recorded, monkeypatch):
    """To the last bit, and without training anything twice."""
    calls = []

    def make_counting(*args, **options):
        trainer = compile_once(*args, **options)

        def train(*arguments):
            calls.append(1)
            return trainer.train(*arguments)

        return trainer._replace(train=train)

    monkeypatch.setattr(fair_test, "make_rank_trainer", make_counting)
    result, deaths = compute_with_deaths(
        lambda kept: run_rank_test(CONTENDER, DATA, lambda known: MODEL, SETTINGS, kept=kept)
    )
    wanted, counted = recorded
    assert deaths > len(SETTINGS.trials) + 2
    assert len(calls) == len(counted.epochs)
    for name in ("settings", "epochs", "course", "tuning", "num_epochs"):
        assert getattr(result, name) == getattr(wanted, name)
    jax.tree.map(np.testing.assert_array_equal, result.test, wanted.test)
    jax.tree.map(np.testing.assert_array_equal, result.valid, wanted.valid)
