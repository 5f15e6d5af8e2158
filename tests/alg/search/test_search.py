"""A search with a policy that writes what the test wants, and notes what it is rewarded for."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from autolossgen import make_grammar
from autolossgen.configs import base
from autolossgen.language.grammar import encode_tokens
from autolossgen.search.screening import FILTERS, Verdict
from autolossgen.search.search import make_search
from autolossgen.search.space import make_space
from autolossgen.training.lanes import make_lanes
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

CONFIG = base.get_config()
USERS, ITEMS, LENGTH, SAMPLES, LANES = 20, 15, 9, 40, 4
SPACE = make_space(
    operators=("add", "mul", "neg", "log", "square", "reciprocal"),
    operands=("pred", "label", "1", "100"),
    length=LENGTH,
    bounds=(-1e5, 1e5),
)
MSE = "pred label neg add square"
LOUD = f"100 {MSE} mul"
QUARTIC, LOG, RATIO = f"{MSE} square", f"1 {MSE} add log", f"1 {MSE} neg add reciprocal"
WRONG, HALF = f"{MSE} neg", "label neg pred mul"  # HALF teaches from label 1 alone
BLIND, CONSTANT = "pred square", "label square"


class FakeState(NamedTuple):
    """State of the policy: what to write next, and what it learned last."""

    tokens: jax.Array
    reward: jax.Array
    weight: jax.Array
    base_reward: jax.Array


class FakePolicy(NamedTuple):
    init = staticmethod(
        lambda key: FakeState(
            jnp.zeros((SAMPLES, LENGTH), jnp.int32),
            jnp.zeros(SAMPLES),
            jnp.zeros(SAMPLES),
            jnp.float32(0),
        )
    )
    sample = staticmethod(lambda state, key, count: state.tokens)
    update = staticmethod(
        lambda state, tokens, reward, weight, reference: (
            state._replace(reward=reward, weight=weight),
            {},
        )
    )
    begin_round = staticmethod(lambda state, reward: state._replace(base_reward=reward))


OPTIONS = {
    "reference": "square(label + -pred)",
    "samples": SAMPLES,
    "num_lanes": LANES,
    "batch_size": 32,
    "learning_rate": 7.0,
    "weight_decay": 1e-3,
    "l2": 0.0,
    "reward_scale": "gradient",
    "hall": 6,
    "seen_losses": 16,
    "restart": "never",
}


# The paper's filter and rewards; but restarts, which are not the paper's, as another search would
# take as long to compile.
AS_PAPER = {"filter_": "paper", "reward_scale": "raw", "learning_rate": 0.2, "restart": "stalled"}


@cache
def searching(filter_="graded", **options):
    """Returns a search over two devices, what makes its first state, and its data."""
    devices = jax.devices()[:2]
    mesh = jax.make_mesh((2,), ("lanes",), axis_types=(AxisType.Auto,), devices=devices)
    replicated = NamedSharding(mesh, PartitionSpec())
    search = make_search(
        FakePolicy(),
        partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 1.0), mesh=mesh),
        SPACE,
        FILTERS[filter_](**CONFIG.filter.get(filter_, {})),
        **OPTIONS | options,
        sharding=replicated,
    )
    rng = np.random.default_rng(3)
    data = jax.device_put(
        [toy_recommender.make_interactions(rng, USERS, ITEMS, n) for n in (1600, 400)], replicated
    )
    return search, cache(lambda: search.init(jax.random.key(5), data[1])), data


def write(state, *losses):
    """Returns a state whose policy writes these losses next, and constants after them."""
    rows = [*losses, *[CONSTANT] * (SAMPLES - len(losses))]
    tokens = np.zeros((SAMPLES, LENGTH), np.int32)
    for row, loss in zip(tokens, rows, strict=True):
        numbers = encode_tokens(loss.split(), SPACE.vocabulary)
        row[: len(numbers)] = numbers
    tokens = jax.device_put(tokens, state.base_reward.sharding)
    return state._replace(policy=state.policy._replace(tokens=tokens))


def generation(losses, state=None, key=1, **options):
    """Runs a generation of losses; returns state, result, and what the policy learned of each."""
    search, first, data = searching(**options)
    state = first() if state is None else state
    state, result = search.run_generation(write(state, *losses), jax.random.key(key), *data)
    of_samples = zip(result.verdicts, state.policy.reward, state.policy.weight, strict=True)
    rows = [(Verdict(int(v)), float(r), float(w)) for v, r, w in list(of_samples)[: len(losses)]]
    return state, result, rows


def advance(state, key=9, **options):
    search, _, data = searching(**options)
    return search.advance(state, jax.random.key(key), *data)


def formulas(hall):
    names = np.asarray(SPACE.vocabulary.names)
    filled = np.isfinite(hall.gain)
    return [" ".join(names[row[row > 0]]) for row in np.asarray(hall.tokens)[filled]]


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


MIXED = (MSE, BLIND, LOUD, WRONG, QUARTIC, CONSTANT, MSE, LOG, HALF, RATIO)


def test_each_candidate_gets_its_verdict():
    _, result, rows = generation(MIXED)
    assert [verdict.name for verdict, _, _ in rows] == [
        "TRAINED",
        "LABEL_BLIND",
        "TWIN",  # of the first: a multiple has the same shape
        "WRONG_DIRECTION",
        "TRAINED",
        "NO_GRADIENT",
        "TWIN",
        "TRAINED",
        "WRONG_DIRECTION",
        "OVER_CAPACITY",  # four lanes: three candidates and the reference
    ]
    assert result.trained.tolist() == [False, True, True, True]


def test_each_candidate_gets_its_reward():
    _, result, rows = generation(MIXED)
    reward, weight = ([row[i] for row in rows] for i in (1, 2))
    trained = [reward[i] for i in (0, 4, 7)]
    assert trained == result.rewards[1:].tolist()
    assert all(0.55 < r < 1 for r in trained)
    assert len(set(trained)) == 3
    no_gradient, blind, wrong, half = (reward[i] for i in (5, 1, 3, 8))
    assert -1 <= no_gradient < blind < wrong < half < 0 < min(trained)
    # Twins teach nothing here, and nothing is known of what had no lane.
    assert weight == [1, 1, 0, 1, 1, 1, 0, 1, 1, 0]


def test_a_loss_that_a_protection_makes_is_not_trained_but_by_the_paper():
    undefined = f"{MSE} label log log add"
    _, _, rows = generation([undefined, HALF, MSE])
    assert [verdict.name for verdict, _, _ in rows] == ["PROTECTED", "WRONG_DIRECTION", "TRAINED"]
    assert rows[1][1] < rows[0][1] < 0 < rows[2][1]
    assert [weight for _, _, weight in rows] == [1, 1, 1]
    _, _, rows = generation([undefined], **AS_PAPER)
    assert rows[0][0] == Verdict.TRAINED


def test_only_what_was_trained_enters_the_hall_of_fame():
    state, result, _ = generation(MIXED)
    assert sorted(formulas(state.hall)) == sorted([MSE, QUARTIC, LOG])
    gains = np.sort(result.rewards[1:] - result.rewards[0])[::-1]
    np.testing.assert_array_equal(state.hall.gain[:3], gains)
    assert formulas(state.round_best) == formulas(state.hall)
    assert state.hall.generation[:3].tolist() == [1, 1, 1]


def test_a_generation_without_survivors_is_no_error():
    state, result, _ = generation([BLIND, WRONG])
    assert not result.trained.any()
    assert 0.5 < result.rewards[0] < 1  # the reference is trained all the same
    assert formulas(state.hall) == []
    assert np.isfinite(state.policy.reward).all()
    moved, better = advance(state)
    assert not better
    same(moved.base_model, state.base_model)


def test_more_sound_candidates_than_are_compared_have_no_reward():
    _, _, rows = generation([MSE] * SAMPLES, **AS_PAPER)
    verdicts = [verdict.name for verdict, _, _ in rows]
    assert verdicts == ["TRAINED"] + ["TWIN"] * 31 + ["OVER_CAPACITY"] * 8
    assert [weight for _, _, weight in rows] == [1] * 32 + [0] * 8


def test_the_reference_gains_nothing_over_itself():
    state, result, _ = generation([MSE])
    np.testing.assert_allclose(result.rewards[1], result.rewards[0], atol=1e-4)
    assert abs(state.hall.gain[0]) < 1e-4


def test_the_reference_does_not_depend_on_the_candidates():
    rewards = [generation(losses)[1].rewards[0] for losses in (MIXED, [LOG], [BLIND])]
    assert rewards[0] == rewards[1] == rewards[2]


def test_the_size_of_a_gradient_earns_nothing():
    quiet, loud = (generation([loss])[1].rewards for loss in (MSE, LOUD))
    np.testing.assert_allclose(quiet[1], loud[1], atol=1e-4)


def test_raw_rewards_depend_on_the_size_of_a_gradient():
    _, result, rows = generation([MSE, LOUD], **AS_PAPER)
    assert [verdict.name for verdict, _, _ in rows] == ["TRAINED", "TRAINED"]
    same_as_reference, loud = result.rewards[1:3]
    assert abs(loud - result.rewards[0]) > 0.02
    np.testing.assert_allclose(same_as_reference, result.rewards[0], atol=1e-4)


def test_losses_of_earlier_rounds_are_seen():
    state, _, _ = generation([MSE, QUARTIC])
    state, _ = advance(state)
    state, _, rows = generation([LOUD, RATIO, QUARTIC], state, key=2)
    assert [verdict.name for verdict, _, _ in rows] == ["TWIN", "TRAINED", "TWIN"]
    assert [weight for _, _, weight in rows] == [0, 1, 0]
    assert len(set(formulas(state.hall))) == len(formulas(state.hall)) == 3


def test_the_paper_pays_twins_what_their_match_got():
    state, before, rows = generation([MSE, QUARTIC, MSE], **AS_PAPER)
    assert [reward for _, reward, _ in rows] == [*before.rewards[1:3], before.rewards[1]]
    _, now, rows = generation([QUARTIC, MSE], state, key=2, **AS_PAPER)
    for lane, (verdict, reward, weight) in zip((2, 1), rows, strict=True):
        gain = before.rewards[lane] - before.rewards[0]
        assert (verdict, weight) == (Verdict.TWIN, 1)
        np.testing.assert_allclose(reward, now.rewards[0] + gain, atol=1e-6)


def test_the_paper_forgets_after_a_round():
    state, _, first = generation([MSE, MSE], **AS_PAPER)
    state, _, again = generation([MSE], state, key=2, **AS_PAPER)
    state, _ = advance(state, **AS_PAPER)
    _, _, later = generation([MSE], state, key=3, **AS_PAPER)
    verdicts = [verdict.name for rows in (first, again, later) for verdict, _, _ in rows]
    assert verdicts == ["TRAINED", "TWIN", "TWIN", "TRAINED"]


def test_losses_that_ignore_the_label_stay_out_of_the_hall_whatever_the_filter():
    state, result, rows = generation([BLIND, MSE], **AS_PAPER)
    assert [verdict.name for verdict, _, _ in rows] == ["TRAINED", "TRAINED"]
    assert np.isfinite(result.rewards[1])
    assert formulas(state.hall) == formulas(state.round_best) == [MSE]


def test_advancing_never_worsens_the_base_model():
    _, first, _ = searching()
    state = first()
    standing = [float(state.base_reward)]
    moves = []
    for round_, losses in enumerate([(MSE, LOG), (BLIND,), (QUARTIC, RATIO), (WRONG,), (MSE,)]):
        state, _, _ = generation(losses, state, key=round_)
        state, moved = advance(state, key=100 + round_)
        standing.append(float(state.base_reward))
        moves.append(bool(moved))
        assert state.policy.base_reward == state.base_reward
        assert formulas(state.round_best) == []
    assert moves[0]
    assert not moves[1]
    assert np.all(np.diff(standing) >= 0)
    assert standing[-1] > standing[0] + 0.1


def test_the_base_model_stays_where_every_loss_hurts():
    state, _, _ = generation([MSE, LOG])
    content = state._replace(base_reward=jnp.full_like(state.base_reward, 2.0))
    content, moved = advance(content)
    assert not moved
    same(content.base_model, state.base_model)
    assert float(content.base_reward) == 2.0


def test_a_base_model_that_the_reference_hurts_restarts():
    state, _, _ = generation([MSE, LOUD], **AS_PAPER)
    going = state._replace(base_reward=jnp.zeros_like(state.base_reward))
    finished = state._replace(base_reward=jnp.full_like(state.base_reward, 2.0))
    moved, again, other = (
        advance(each, key=key, **AS_PAPER)[0]
        for each, key in ((going, 9), (finished, 9), (finished, 10))
    )
    assert moved.base_reward > 0.6  # trained on
    assert abs(again.base_reward - 0.5) < 0.1  # untrained
    same(again.hall, state.hall)
    for one, two in ((again, state), (again, other), (again, moved)):
        assert not np.allclose(one.base_model.tables["user"], two.base_model.tables["user"])


def test_a_base_model_that_always_restarts_has_new_weights_after_every_round():
    state, _, _ = generation([MSE, LOG])
    (one, moved), (other, _) = (advance(state, key=key, restart="always") for key in (9, 10))
    assert not moved
    for each in (one, other):
        assert abs(each.base_reward - 0.5) < 0.1  # untrained
        assert not np.isfinite(each.round_best.gain).any()
        same(each.hall, state.hall)
        assert not np.allclose(each.base_model.tables["user"], state.base_model.tables["user"])
    assert not np.allclose(one.base_model.tables["user"], other.base_model.tables["user"])


def test_the_base_reward_is_the_auc_of_the_base_model():
    state, _, _ = generation([MSE])
    moved, _ = advance(state)
    _, _, (_, rewarded) = searching()
    for each in (state, moved):
        rows = {
            field: np.asarray(each.base_model.scale * table)[rewarded.ids[field], :, 0]
            for field, table in each.base_model.tables.items()
        }
        scores = toy_recommender.forward({"bias": each.base_model.dense["bias"][0]}, rows)
        expected = sklearn.metrics.roc_auc_score(rewarded.label, scores)
        np.testing.assert_allclose(each.base_reward, expected, atol=1e-5)


def test_the_key_decides_everything():
    one, again, other = (generation(MIXED, key=key)[:2] for key in (1, 1, 2))
    same(one, again)
    assert not np.array_equal(one[1].rewards, other[1].rewards)
    same(advance(one[0], key=3), advance(again[0], key=3))


def test_a_whole_search_is_traced_once():
    search, first, _ = searching()
    state = first()
    drawn = np.random.default_rng(0)
    for round_ in range(3):
        for number in range(2):
            losses = drawn.permutation(MIXED)[: drawn.integers(1, 6)]
            state, _, _ = generation(losses, state, key=10 * round_ + number)
        state, _ = advance(state, key=round_)
    assert int(state.generation) == 6
    assert [search.run_generation._cache_size(), search.advance._cache_size()] == [1, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"reward_scale": "none"},
        {"restart": "sometimes"},
        {"num_lanes": 1},
        {"samples": 0},
        {"hall": 0},
        {"seen_losses": 0},
        {"batch_size": 0},
        {"learning_rate": 100.0, "weight_decay": 0.01},
        {"reference": "square(label -"},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(
        ValueError, match=r"reward_scale|restart is|at least 2|at least 1 of|stays below|expected"
    ):
        searching.__wrapped__(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bounds": (1.0, 1.0)}, "low < high"),
        ({"length": 0}, "at least one token"),
        ({"operators": ("ad",)}, "did you mean 'add'"),
    ],
)
def test_a_space_that_cannot_be_is_refused(wrong, message):
    options = {"operators": ("add",), "operands": ("pred",), "length": 3, "bounds": (-1.0, 1.0)}
    assert make_grammar(make_space(**options).vocabulary, 3).size == 3
    with pytest.raises(ValueError, match=message):
        make_space(**options | wrong)
