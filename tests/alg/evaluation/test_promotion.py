"""Promotion: each rung trains every loss at every setting, and the best go on."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from jax.sharding import AxisType

from autolossgen import DEFAULT_BOUNDS
from autolossgen.evaluation import promotion as promotion_module
from autolossgen.evaluation.promotion import make_promotion
from autolossgen.language.inputs import as_program
from autolossgen.training.lanes import make_batches, make_lanes
from autolossgen.training.loss_gradients import stack_losses, traced_logit_grads
from tests.helpers import toy_recommender
from tests.helpers.dying import compute_with_deaths
from tests.helpers.shared_trainers import share_trainers

pytestmark = pytest.mark.slow

USERS, ITEMS = toy_recommender.NUM_COUNTED_USERS, 15
OPTIONS = {
    "learning_rates": (0.5, 4.0),
    "weight_decays": (1e-4,),
    "l2": 0.0,
    "epochs": (1, 3),
    "keep": 0.5,
    "distinct_tolerance": 0.0,
    "scale": "gradient",
    "num_lanes": 6,
    "batch_size": 32,
}
GOOD = ("square(label - pred)", "square(square(label - pred))", "log(1 + square(label - pred))")
BAD = ("-square(label - pred)", "square(pred)")
FORMULAS = (BAD[0], *GOOD, BAD[1])
LOGIT_GRADS = traced_logit_grads(
    sorted({int(op) for formula in FORMULAS for op in as_program(formula).op})
)


@pytest.fixture(scope="module", autouse=True)
def _shared_trainers():
    with share_trainers(promotion_module):
        yield


@cache
def all_losses():
    programs = [as_program(formula) for formula in FORMULAS]
    stacked = stack_losses(programs, [DEFAULT_BOUNDS] * len(programs), slots=8)
    return jax.tree.map(np.asarray, stacked)


def losses(*formulas):
    rows = [FORMULAS.index(formula) for formula in formulas]
    return jax.tree.map(lambda part: part[rows], all_losses())


def unlike(*formulas):
    """Returns losses with fingerprints that no two share."""
    return losses(*formulas), np.arange(float(len(formulas)))[:, None]


@cache
def splits():
    """Returns what is trained on, and the splits to evaluate on."""
    rng = np.random.default_rng(11)
    data, rewarded = (toy_recommender.make_interactions(rng, USERS, ITEMS, n) for n in (1600, 300))
    return data, (rewarded,)


@cache
def lanes_over(devices):
    chosen = jax.devices()[:devices]
    mesh = jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,), devices=chosen)
    return partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 1.0), mesh=mesh)


def promotion(devices=1, **options):
    """Returns a promotion that returns the losses and the rewards of its last rung."""
    promote = make_promotion(lanes_over(devices), LOGIT_GRADS, **OPTIONS | options)
    return lambda *args, **settings: promote(*args, **settings)[-1][1:3]


def test_the_good_losses_come_to_the_last_rung():
    order, rewards = promotion()(*unlike(*FORMULAS), *splits())
    assert sorted(order) == [1, 2, 3]  # half of five, rounded up
    assert np.all(np.diff(rewards) <= 0)
    assert rewards.min() > 0.75


def test_every_rung_says_what_it_trained_and_what_that_earned():
    promote = make_promotion(lanes_over(1), LOGIT_GRADS, **OPTIONS)
    first, last = promote(*unlike(*FORMULAS), *splits())
    assert (first.epochs, last.epochs) == OPTIONS["epochs"]
    assert sorted(first.losses) == [0, 1, 2, 3, 4]
    assert sorted(last.losses) == sorted(first.losses[:3])
    assert np.all(np.diff(first.rewards) <= 0)
    for rung in (first, last):
        assert rung.courses.shape == (len(rung.losses), rung.epochs)
        np.testing.assert_array_equal(rung.courses.max(1), rung.rewards)


def test_a_penalty_takes_part_in_the_order_and_not_in_the_rewards():
    order, rewards = promotion()(*unlike(*FORMULAS), *splits())
    penalty = np.array([0, 1, 0, 0, 0])  # of a good one, more than any reward
    ordered, paid = promotion()(*unlike(*FORMULAS), *splits(), penalty=penalty)
    assert 1 in order
    assert 1 not in ordered
    same = [list(order).index(j) for j in ordered[:2]]
    np.testing.assert_array_equal(paid[:2], rewards[same])


def test_the_best_of_each_kind_go_on_first():
    fingerprints = np.array([2.1, 0.1, 0.2, 0.9, 2.0])[:, None]  # two good ones are of a kind
    promote = promotion(distinct_tolerance=0.5, keep=0.6)
    order, rewards = promote(losses(*FORMULAS), fingerprints, *splits())
    assert sorted(order[:2]) in ([1, 3], [2, 3])
    assert order[2] in (0, 4)  # no good one, but the best of its kind
    assert rewards[0] >= rewards[1] > 0.75 > rewards[2]


def test_as_many_go_on_as_are_to_be_tested():
    order, _ = promotion(keep=0.1, min_survivors=4)(*unlike(*FORMULAS), *splits())
    assert len(order) == 4
    order, _ = promotion(keep=0.1, min_survivors=9)(*unlike(*FORMULAS), *splits())
    assert sorted(order) == [0, 1, 2, 3, 4]  # there are no more


def test_lanes_are_gone_when_others_begin(monkeypatch):
    """The memory check counts those of one training."""
    counts = []
    counting = toy_recommender.count_lanes_at_init(promotion_module.make_trainer, counts)
    monkeypatch.setattr(promotion_module, "make_trainer", counting)
    promotion()(*unlike(*GOOD, *GOOD), *splits())
    assert counts == [0, 0, 0]  # six losses, three at a time, then the best three


def test_the_score_of_a_loss_is_the_best_of_its_settings_and_epochs():
    """Each setting alone, in one rung: nothing may do better, and one must do as well."""
    alone = [
        promotion(learning_rates=(rate, rate), epochs=(3,))(*unlike(GOOD[0]), *splits())[1][0]
        for rate in OPTIONS["learning_rates"]
    ]
    together = promotion(epochs=(3,))(*unlike(GOOD[0]), *splits())[1][0]
    np.testing.assert_allclose(together, max(alone), atol=1e-6)
    assert abs(alone[0] - alone[1]) > 1e-3


def test_a_loss_scores_alike_alone_and_among_others():
    """Lanes that are filled up, groups and their order make no difference."""
    order, among = promotion(epochs=(2,))(*unlike(*FORMULAS), *splits())
    alone = [promotion(epochs=(2,))(*unlike(FORMULAS[j]), *splits())[1][0] for j in order]
    np.testing.assert_allclose(among, alone, atol=1e-6)


def test_devices_make_no_difference():
    one, two = (promotion(devices)(*unlike(*FORMULAS), *splits()) for devices in (1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_allclose(one[1], two[1], atol=1e-6)


@pytest.mark.parametrize("l2", [0.0, 1e-2])
def test_the_size_of_a_loss_earns_nothing_unless_raw(l2):
    loud = losses(GOOD[0])
    loud = loud._replace(scale=50 * loud.scale)
    for scale, same in (("gradient", True), ("raw", False)):
        promote = promotion(epochs=(1,), scale=scale, l2=l2)
        scores = [
            promote(each, np.zeros((1, 1)), *splits())[1][0] for each in (losses(GOOD[0]), loud)
        ]
        assert np.isclose(*scores, atol=1e-6) == same


def test_a_score_is_an_auc_of_the_reward_split():
    """Against training in a loop, in float64."""
    data, (rewarded,) = splits()
    model = toy_recommender.make_recommender(USERS, ITEMS, 1.0)
    rate, key = 4.0, jax.random.key(0)
    promote = promotion(learning_rates=(rate, rate), epochs=(1,), scale="raw")
    setting = toy_recommender.LaneSetting(
        lambda z, y: jnp.square(y - jax.nn.sigmoid(z)), rate, 1e-4
    )
    cut = make_batches(data, OPTIONS["batch_size"], jax.random.fold_in(key, 0))
    start, _, weights = model.init(key)
    dense, tables = toy_recommender.train_dense_sgd(start, weights, cut, setting)
    rows = {field: tables[field][np.asarray(rewarded.ids[field])] for field in tables}
    expected = sklearn.metrics.roc_auc_score(rewarded.label, toy_recommender.forward(dense, rows))
    reward = promote(*unlike(GOOD[0]), data, (rewarded,))[1][0]
    np.testing.assert_allclose(reward, expected, atol=1e-4)


def test_a_score_is_the_mean_over_seeds():
    """One setting, one epoch; each seed has a score of its own."""
    fixed = {"learning_rates": (4.0, 4.0), "epochs": (1,)}
    one, two, three = (
        promotion(seeds=seeds, **fixed)(*unlike(GOOD[0]), *splits())[1][0] for seeds in (1, 2, 3)
    )
    alone = [one, 2 * two - one, 3 * three - 2 * two]
    assert min(abs(np.diff(sorted(alone)))) > 1e-4
    assert 0.5 < min(alone) < max(alone) < 0.95


def test_of_several_seeds_it_is_the_best_epoch_of_their_mean(monkeypatch):
    """It is not the mean of each seed's best: (0.9 + 0.9) / 2."""
    curves = iter([(0.9, 0.5, 0.6), (0.5, 0.6, 0.9)])

    def trained(trainer, losses, settings, *, epochs, **others):
        return ((None, np.full(len(settings), reward)) for reward in next(curves)[:epochs])

    monkeypatch.setattr(promotion_module, "train_from_scratch", trained)
    calls = []
    options = {"epochs": (3,), "seeds": 2, "progress": lambda *call: calls.append(call)}
    promote = promotion(**options)
    np.testing.assert_allclose(promote(*unlike(GOOD[0]), *splits())[1], [0.75])
    assert calls[-1][:3] == ("promotion", 6, 6)


def test_a_score_is_the_mean_over_the_reward_splits():
    """One setting, one epoch; two splits have different scores."""
    data, (rewarded,) = splits()
    both_splits = [
        rewarded,
        toy_recommender.make_interactions(np.random.default_rng(12), USERS, ITEMS, 300),
    ]
    promote = promotion(learning_rates=(4.0, 4.0), epochs=(1,))
    ones = [promote(*unlike(GOOD[0]), data, (split,))[1][0] for split in both_splits]
    assert abs(ones[0] - ones[1]) > 1e-3
    both = promote(*unlike(GOOD[0]), data, both_splits)[1][0]
    np.testing.assert_allclose(both, np.mean(ones), atol=1e-6)


def test_progress_counts_to_the_end():
    calls = []
    promote = promotion(progress=lambda *call: calls.append(call), epochs=(1, 3))
    names = [f"loss {j}" for j in range(len(FORMULAS))]
    promote(*unlike(*FORMULAS), *splits(), names=names)
    # Three losses at two settings fill six lanes: two groups, then one.
    assert [call[:3] for call in calls] == [("promotion", done, 5) for done in range(6)]
    assert [*calls[1][3], *calls[2][3]] == names
    assert all(0 <= score <= 1 for *_, scores in calls for score in scores.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": ()}, "rungs of at least 1 epoch"),
        ({"epochs": (0,)}, "rungs of at least 1 epoch"),
        ({"keep": 0.0}, r"keep in \(0, 1\]"),
        ({"seeds": 0}, "seeds of at least 1"),
        ({"losses": -1}, "promote.losses is a number of losses"),
        ({"num_lanes": 1}, "1 to 1 settings"),
        ({"learning_rates": (-1.0,)}, "positive"),
        ({"weight_decays": (-1.0,)}, "not negative"),
        ({"learning_rates": (1e4,)}, "stays below 1"),
        ({"l2": -1e-3}, "l2 not negative"),
        ({"l2": float("nan")}, "l2 not negative"),
        ({"weight_decays": ()}, "one weight decay"),
        ({"scale": "none"}, "'gradient' or 'raw'"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        promotion(**wrong)


def test_one_that_is_killed_after_every_epoch_ends_as_one_that_is_not():
    trained = []

    def follow(stage, done, total, scores):
        trained.extend([done] if scores else [])

    promote = make_promotion(
        lanes_over(1), LOGIT_GRADS, **OPTIONS | {"seeds": 2, "progress": follow}
    )
    compute = lambda kept: promote(*unlike(*FORMULAS), *splits(), kept=kept)  # noqa: E731
    rungs, deaths = compute_with_deaths(compute)
    assert deaths > len(trained) == len({*trained})  # after each epoch, and each part's end
    for one, other in zip(rungs, promote(*unlike(*FORMULAS), *splits()), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
