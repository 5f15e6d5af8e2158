"""The fair test: what chooses, what is paired, and what the size of a loss does not decide."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from jax.sharding import AxisType
from scipy import stats

from autolossgen import UNBOUNDED, build_loss, named_loss
from autolossgen.evaluation import fair_test as fair_test_module
from autolossgen.evaluation import tuning as tuning_module
from autolossgen.evaluation.contenders import Contender
from autolossgen.evaluation.fair_test import make_fair_test
from autolossgen.evaluation.statistics import (
    Splits,
    compute_confidence_interval,
    make_result_records,
    measure,
)
from autolossgen.interfaces import StreamedData
from autolossgen.training.lanes import make_lanes
from autolossgen.training.optimizers import Hyper
from autolossgen.training.tasks import RATING
from autolossgen.training.trainer import Trainer
from tests.helpers import toy_recommender
from tests.helpers.dying import compute_with_deaths
from tests.helpers.shared_trainers import share_trainers

pytestmark = pytest.mark.slow

USERS, ITEMS = toy_recommender.NUM_COUNTED_USERS, 15
OPTIONS = {
    "learning_rates": (0.01, 4.0),
    "weight_decays": (1e-4, 1e-3),
    "l2": 0.0,
    "tuning_seeds": 1,
    "seeds": 3,
    "epochs": 2,
    "patience": 2,
    "batch_size": 32,
    "scale": "gradient",
}


def contender(name, formula, found=False):
    return Contender(name, formula, build_loss(formula, bounds=UNBOUNDED), found)


MSE = contender("mse", "square(label - pred)")
LOUD = contender("loud", "50 * square(label - pred)", found=True)
BCE = Contender("bce", "softplus(logit) - label * logit", named_loss("bce"), False)
ALL = (BCE, MSE, LOUD)


@pytest.fixture(scope="module", autouse=True)
def _shared_trainers():
    with share_trainers(fair_test_module):
        yield


@cache
def splits():
    rng = np.random.default_rng(11)
    return Splits(
        *(toy_recommender.make_interactions(rng, USERS, ITEMS, n) for n in (1600, 300, 300))
    )


@cache
def lanes_over(devices):
    chosen = jax.devices()[:devices]
    mesh = jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)
    return partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 1.0), mesh=mesh)


def fair_test(devices=1, **options):
    return make_fair_test(lanes_over(devices), **OPTIONS | options)


@cache
def results(**options):
    """Tunes and runs the losses, once for all tests; returns what was tuned and the results."""
    test = fair_test(**options)
    tuned = test.tune(ALL, splits())
    return tuned, {o.contender.name: o for o in test.run(ALL, tuned, splits())}


def assert_equal(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], err_msg=name, **tolerance)


@pytest.fixture
def lane_counts(monkeypatch):
    """The lanes that are alive whenever others begin."""
    counts = []
    counting = toy_recommender.count_lanes_at_init(fair_test_module.make_trainer, counts)
    monkeypatch.setattr(fair_test_module, "make_trainer", counting)
    return counts


def test_lanes_are_gone_when_others_begin(lane_counts):
    """The memory check counts those of one stage, all its seeds side by side."""
    test = fair_test()
    test.run(ALL, test.tune(ALL, splits()), splits())
    # For the sizes of gradients, tuning, and testing: three losses, one seed after another.
    assert lane_counts == [0, 0, 0, 3, 6]


def test_validation_chooses_the_learning_rate_and_decay():
    """Each setting alone, then the grid: it must take the best of them for every loss."""
    tuned, _ = results()
    alone = {}
    for rate in OPTIONS["learning_rates"]:
        for decay in OPTIONS["weight_decays"]:
            one = fair_test(learning_rates=(rate,), weight_decays=(decay,))
            alone[rate, decay] = one.tune(ALL, splits())
    for j in range(len(ALL)):
        best = max(alone.values(), key=lambda one: one.valid[j])
        np.testing.assert_allclose(tuned.valid[j], best.valid[j], atol=2e-3)
        np.testing.assert_allclose(tuned.learning_rate[j], best.learning_rate[j], rtol=1e-5)
    slow = alone[0.01, 1e-4]
    assert np.all(tuned.valid > slow.valid + 0.1)
    assert np.all(tuned.learning_rate > 100 * slow.learning_rate)


def test_the_best_settings_by_the_first_seed_are_confirmed_by_the_others():
    """Their means are those of a tuning in which all settings train with all seeds."""
    rates = {"learning_rates": (0.1, 0.5), "tuning_seeds": 3}
    whole = fair_test(**rates).tune(ALL, splits())
    first = fair_test(**rates | {"confirmed": 2}).tune(ALL, splits())
    for j in range(len(ALL)):
        better = {*np.argsort(-first.scores[:, j], kind="stable")[:2].tolist()}
        assert better == {2, 3}  # those of the larger rate
        np.testing.assert_allclose(first.scores[[2, 3], j], whole.scores[[2, 3], j], atol=2e-3)
        assert np.abs(first.scores[[0, 1], j] - whole.scores[[0, 1], j]).max() > 2e-3
        np.testing.assert_allclose(first.learning_rate[j], whole.learning_rate[j], rtol=1e-5)


def test_a_setting_that_is_not_confirmed_is_not_chosen(monkeypatch):
    """However lucky its only seed was."""
    rewards = {0: [0.9, 0.8, 0.3, 0.2], 1: [0.5, 0.6]}  # of the first seed, and of the other

    def train(training, name, kept):
        return np.array(rewards[name == "tuning of the other seeds"])[None, :, None]

    monkeypatch.setattr(tuning_module, "_train_round", train)
    tuned = fair_test(tuning_seeds=2, confirmed=2).tune(ALL[:1], splits())
    np.testing.assert_allclose(tuned.scores[:, 0], [0.7, 0.7, 0.3, 0.2])
    rewards[1] = [0.1, -0.6]
    tuned = fair_test(tuning_seeds=2, confirmed=2).tune(ALL[:1], splits())
    np.testing.assert_allclose(tuned.valid, [0.5])
    rewards[0] = [0.9, 0.8, 0.79, 0.2]
    tuned = fair_test(tuning_seeds=2, confirmed=2).tune(ALL[:1], splits())
    np.testing.assert_allclose(tuned.valid, [0.5])  # not 0.79


def test_settings_are_chosen_by_the_mean_over_the_tuning_seeds():
    """Next to trainings of the same seeds."""
    seeds, epochs = 3, 4
    test = fair_test(tuning_seeds=seeds, epochs=epochs, learning_rates=(4.0,), weight_decays=(0.0,))
    chosen = test.tune(ALL, splits()).valid

    trainer = fair_test_module.make_trainer(
        lanes_over(1),
        RATING.static_logit_grads(tuple(each.loss for each in ALL)),
        batch_size=OPTIONS["batch_size"],
        task=RATING,
    )
    tuning_key, _ = jax.random.split(jax.random.key(0))
    ones = jnp.ones(len(ALL))

    def begin(key):
        return trainer.init(jnp.repeat(key[None], len(ALL)))

    factor = np.asarray(trainer.learning_rate_factors(ones, begin(tuning_key), splits().train))
    hyper = jax.tree.map(jnp.asarray, Hyper(4.0 * factor, 0 * factor, 0 * factor))
    reached = np.zeros((epochs, seeds, len(ALL)))
    for seed, key in enumerate(jax.random.split(tuning_key, seeds)):
        weight_key, shuffle_key = jax.random.split(key)
        state = begin(weight_key)
        for number in range(epochs):
            shuffle = jax.random.fold_in(shuffle_key, number)
            state, valid = trainer.epoch(
                state, ones, hyper, shuffle, splits().train, splits().valid
            )
            reached[number, seed] = valid
    np.testing.assert_allclose(chosen, np.mean(reached, axis=1).max(0), atol=2e-3)
    assert np.ptp(reached, axis=1).max(0).min() > 0.01  # so that no seed alone has the mean


@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_the_size_of_a_loss_is_made_up_for(l2):
    tuned, outcomes = results(l2=l2)
    mse, loud = ALL.index(MSE), ALL.index(LOUD)
    np.testing.assert_allclose(tuned.learning_rate[mse] / tuned.learning_rate[loud], 50, rtol=1e-4)
    np.testing.assert_allclose(tuned.weight_decay[loud] / tuned.weight_decay[mse], 50, rtol=1e-4)
    np.testing.assert_allclose(tuned.l2[loud], 50 * tuned.l2[mse], rtol=1e-4)
    assert_equal(outcomes["mse"].valid, outcomes["loud"].valid, atol=1e-3)
    assert_equal(outcomes["mse"].test, outcomes["loud"].test, atol=4e-3)


def test_raw_learning_rates_stand_as_they_are():
    tuned = fair_test(scale="raw").tune(ALL, splits())
    assert set(tuned.learning_rate) <= set(OPTIONS["learning_rates"])
    assert set(tuned.weight_decay) <= set(OPTIONS["weight_decays"])


def test_learning_rates_are_for_a_gradient_as_large_as_bces():
    """On predictions near one half BCE's slope is about one half, MSE's about one quarter."""
    tuned, _ = results()
    bce, mse = (tuned.learning_rate[ALL.index(each)] for each in (BCE, MSE))
    assert bce == pytest.approx(4, abs=0.8)
    assert 2 < mse / bce < 3


def test_seeds_are_paired():
    """A loss and its multiple meet the same weights and batches, seed by seed."""
    _, outcomes = results()
    one, other = (outcomes[name].test["logloss"] for name in ("mse", "loud"))
    np.testing.assert_allclose(one, other, atol=2e-5)
    assert np.diff(np.sort(one)).min() > 1e-4


def test_seeds_differ_in_their_batches_too(monkeypatch):
    """With the same first weights for all; batches alone tell their trainings apart."""

    def start_alike(make_trainer, *given, **options):
        trainer = make_trainer(*given, **options)
        key = jax.random.key(7)
        return trainer._replace(init=lambda keys: trainer.init(jnp.repeat(key[None], len(keys))))

    shared = fair_test_module.make_trainer
    monkeypatch.setattr(fair_test_module, "make_trainer", partial(start_alike, shared))
    for outcome in fair_test().run(ALL, results()[0], splits()):
        assert len({*outcome.test["auc"].tolist()}) == OPTIONS["seeds"]


def test_the_seed_decides_everything():
    tuned, outcomes = results()
    again = fair_test().run(ALL, fair_test().tune(ALL, splits()), splits())
    other = fair_test(seed=1).run(ALL, tuned, splits())
    for one, two in zip(again, other, strict=True):
        assert_equal(one.test, outcomes[one.contender.name].test, rtol=0)
        assert not np.array_equal(one.test["auc"], two.test["auc"])


@pytest.mark.parametrize("seeds", [3, 1])
def test_devices_make_no_difference(seeds):
    """Seed by seed: on 2 devices the last of 2 trainings has a seed over, or the only one has."""
    (one, of_one), (other, of_other) = (results(seeds=seeds, devices=n) for n in (1, 2))
    np.testing.assert_allclose(one.learning_rate, other.learning_rate, rtol=1e-4)
    for name in of_one:
        np.testing.assert_allclose(
            of_one[name].test["logloss"], of_other[name].test["logloss"], rtol=1e-4
        )
        assert_equal(of_one[name].test, of_other[name].test, atol=4e-3)


def test_a_seed_trains_on_each_device(lane_counts):
    tuned, _ = results()
    fair_test(devices=2, seeds=4).run(ALL, tuned, splits())
    assert lane_counts == [0, 6]  # four seeds in two trainings, each with three losses on a device


def test_all_devices_train_a_seed_of_a_stream():
    whole = jax.tree.map(np.asarray, splits().train)
    size = len(whole.label)
    draw = lambda first, count: jax.tree.map(  # noqa: E731
        lambda x: x[(3 * first + np.arange(count)) % size], whole
    )
    # Chunks as large as the whole are trained by the same program.
    streamed = splits()._replace(train=StreamedData(2 * size, size, draw))
    tuned, _ = results()
    one, two = (fair_test(devices=n).run(ALL, tuned, streamed) for n in (1, 2))
    for of_one, of_two in zip(one, two, strict=True):
        assert_equal(of_one.test, of_two.test, atol=4e-3)


def test_test_labels_choose_nothing():
    turned = splits()._replace(test=splits().test._replace(label=1 - splits().test.label))
    tuned, straight = results()
    again = fair_test().run(ALL, tuned, turned)
    for outcome in again:
        expected = straight[outcome.contender.name]
        assert outcome.epochs == expected.epochs
        assert_equal(outcome.valid, expected.valid, rtol=0)
        for name in ("auc", "accuracy"):  # the same scores at the same threshold
            np.testing.assert_allclose(outcome.test[name] + expected.test[name], 1, atol=1e-5)


def test_the_number_of_epochs_is_the_best_on_validation():
    tuned, outcomes = results()
    shorter = [fair_test(epochs=epochs).run(ALL, tuned, splits()) for epochs in (1, 2)]
    for j, each in enumerate(ALL):
        reached = [run[j].valid["auc"].mean() for run in shorter]
        outcome = outcomes[each.name]
        assert outcome.valid["auc"].mean() == pytest.approx(max(reached), abs=1e-6)
        assert outcome.epochs == 1 + int(np.argmax(reached))


def script_trainer(rewards):
    """Builds a trainer whose rewards, epoch by epoch, are these."""
    return Trainer(
        init=lambda keys: 0,
        learning_rate_factors=lambda losses, state, data: jnp.ones(1),
        epoch=lambda state, *given: (state + 1, jnp.array([rewards[state]])),
        evaluate=None,
        predict=lambda state, data: jnp.zeros((1, data.label.size)),
        devices=1,
    )


def test_a_stage_ends_when_no_loss_gets_better(monkeypatch):
    rewards, calls = (0.5, 0.6, 0.6, 0.55, 0.9, 0.9, 0.9), []
    monkeypatch.setattr(fair_test_module, "make_trainer", lambda *_, **__: script_trainer(rewards))
    options = {"epochs": 7, "patience": 2, "seeds": 1, "learning_rates": (4.0,)}
    options |= {"weight_decays": (0.0,), "progress": lambda *call: calls.append(call)}
    test = fair_test(**options)
    tuned = test.tune((MSE,), splits())
    outcome = test.run((MSE,), tuned, splits())[0]
    followed = [(0, {}), *((k, {"mse": rewards[k - 1]}) for k in (1, 2, 3, 4))]
    expected = [(stage, k, 7, scores) for stage in ("tuning", "test") for k, scores in followed]
    assert [(*call[:3], pytest.approx(call[3])) for call in calls] == expected
    np.testing.assert_allclose(tuned.valid, [0.6])
    assert outcome.epochs == 2


def test_metrics_are_scikit_learns_at_the_threshold_of_validation():
    rng = np.random.default_rng(4)
    labels = [jnp.asarray(rng.random(n) < 0.4, jnp.float32) for n in (300, 300)]
    scores = [np.float32(rng.standard_normal((2, y.size)) + y) for y in labels]
    parts = [
        toy_recommender.make_interactions(rng, USERS, ITEMS, y.size)._replace(label=y)
        for y in labels
    ]
    valid, test = measure(*scores, Splits(splits().train, *parts))
    for s in range(2):
        cuts = np.array([-9, *np.unique(scores[0][s])])
        chosen, label = scores[0][s] > cuts[:, None], np.asarray(labels[0]) > 0
        reached = {
            "accuracy": np.mean(chosen == label, axis=1),
            "f1": 2 * np.sum(chosen & label, axis=1) / (np.sum(chosen, axis=1) + np.sum(label)),
        }
        for name, metric in (("accuracy", "accuracy_score"), ("f1", "f1_score")):
            score = getattr(sklearn.metrics, metric)
            best = cuts[int(np.argmax(reached[name]))]
            np.testing.assert_allclose(valid[name][s], reached[name].max(), rtol=1e-6)
            assert valid[name][s] == pytest.approx(score(labels[0], scores[0][s] > best))
            # The cut lies between two scores of validation; what lies between may go both ways.
            above = cuts[cuts > best].min(initial=9)
            sure = (scores[1][s] <= best) | (scores[1][s] >= above)
            assert (~sure).sum() <= 5
            slack = (~sure).sum() / 100
            expected = score(labels[1], scores[1][s] > best)
            assert test[name][s] == pytest.approx(expected, abs=slack + 1e-6)
        auc = sklearn.metrics.roc_auc_score(labels[1], scores[1][s])
        np.testing.assert_allclose(test["auc"][s], auc, atol=1e-6)


def test_intervals_are_scipys():
    values = np.random.default_rng(2).normal(0.8, 0.01, 5)
    expected = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(compute_confidence_interval(values), expected, rtol=1e-10)
    assert compute_confidence_interval(values[:1]) is None


def test_rows_compare_seed_by_seed_with_the_best_baseline_on_validation():
    _, outcomes = results()
    table = {
        row["name"]: row
        for row in make_result_records(list(outcomes.values()), model="m", dataset="d")
    }
    best = max(("bce", "mse"), key=lambda name: table[name]["valid"]["auc"])
    assert table[best]["vs_best_baseline"] is None
    for name in {*table} - {best}:
        pair = outcomes[name].test["auc"], outcomes[best].test["auc"]
        against = table[name]["vs_best_baseline"]
        assert against["metric"] == "auc"
        assert against["difference"] == pytest.approx(np.mean(pair[0] - pair[1]), abs=1e-9)
        if np.ptp(pair[0] - pair[1]) > 0:
            expected = stats.ttest_rel(*pair).confidence_interval(0.95)
            np.testing.assert_allclose(against["ci95"], expected, rtol=1e-6)
    assert [row["found"] for row in table.values()] == [False, False, True]
    for name, row in table.items():
        auc = outcomes[name].test["auc"]
        assert row["test"]["auc"]["mean"] == pytest.approx(auc.mean())
        assert row["test"]["auc"]["std"] == pytest.approx(auc.std(ddof=1))
        assert row["seeds"] == [0, 1, 2]


def test_validation_not_test_says_which_baseline_is_best():
    _, outcomes = results()
    mse, bce = outcomes["mse"], outcomes["bce"]
    worse = mse._replace(valid={"auc": bce.valid["auc"] - 0.1}, test={"auc": bce.test["auc"] + 0.1})
    table = make_result_records([worse, bce], model="m", dataset="d")
    assert table[1]["vs_best_baseline"] is None
    assert table[0]["vs_best_baseline"]["difference"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": "none"}, "scale is"),
        ({"seeds": 0}, "needs seeds of at least 1, got 0"),
        ({"tuning_seeds": 0}, "needs tuning_seeds of"),
        ({"epochs": 0}, "needs epochs of"),
        ({"patience": 0}, "needs patience of"),
        ({"learning_rates": ()}, "at least one learning rate"),
        ({"weight_decays": ()}, "one weight decay are needed"),
        ({"learning_rates": (2000.0,)}, "stays below 1, got learning rates"),
        ({"learning_rates": (0.0,)}, "are positive"),
        ({"weight_decays": (-1e-4,)}, "not negative"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        fair_test(**wrong)


@pytest.mark.parametrize("options", [{}, {"tuning_seeds": 2, "confirmed": 2}])
def test_one_that_is_killed_after_every_epoch_ends_as_one_that_is_not(options):
    """To the last bit, and without training anything twice."""
    epochs, places = [], []

    def follow(stage, done, total, scores):
        epochs.extend([stage] if scores else [])
        places.append((stage, done, total))

    test = fair_test(progress=follow, **options)

    def compute(kept):
        tuned = test.tune(ALL, splits(), kept)
        return tuned, test.run(ALL, tuned, splits(), kept)

    (tuned, found), deaths = compute_with_deaths(compute)
    rounds = 2 if options else 1  # of tuning
    # After each epoch, and at the end, of each round of tuning, of tuning, and of the test.
    assert deaths == 3 * rounds + 1 + 3
    assert epochs == ["tuning"] * 2 * rounds + ["test"] * 2
    shown = [(done, total) for stage, done, total in places if stage == "tuning"]
    assert shown == sorted(shown)
    assert shown[-1] == (2 * rounds, 2 * rounds)
    wanted_tuned, wanted = results(**options)
    jax.tree.map(np.testing.assert_array_equal, tuned, wanted_tuned)
    for one in found:
        other = wanted[one.contender.name]
        assert (one.epochs, one.course, one.tuning) == (other.epochs, other.course, other.tuning)
        assert_equal(one.test, other.test)
        np.testing.assert_array_equal(one.resampled, other.resampled)
