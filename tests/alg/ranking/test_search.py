"""The search for ranking losses: its space, its screening, and its generations."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import PAIRWISE, PAIRWISE_LOSSES, build_loss, named_loss
from autolossgen.configs import topk
from autolossgen.controller.uniform import make_uniform
from autolossgen.language.build import UNBOUNDED
from autolossgen.ranking.candidates import CandidateResult
from autolossgen.ranking.search import (
    compute_fingerprints,
    make_rank_filter,
    make_rank_search,
)
from autolossgen.search.log_record import write_formula
from autolossgen.search.screening import Verdict, are_twins
from autolossgen.search.space import make_space

pytestmark = pytest.mark.slow

CONFIG = topk.get_config()
# Scales do not matter, and a constant that is tuned may take the place of one that is not.
POINTS = {
    "bpr": "softplus(neg - pos)",
    "hinge_rank": "relu(c0 - diff)",
    "sampled_softmax": "softplus(logsumexp_neg((neg - pos) / c0))",
    "softmax": "logsumexp_neg((neg - pos) / c0)",
    "bsl": "logsumexp_neg(neg / c0) - pos / c1",
    "psl": "logsumexp_neg(log(max(1 - diff, c0)) / c1)",
    "psl_tanh": "logsumexp_neg(log(1 - tanh(diff)) / c0)",
    "psl_atan": "logsumexp_neg(log(1 - atan(diff)) / c0)",
    "sl_at_k": "sigmoid((pos - threshold) / c0) * logsumexp_neg((neg - pos) / c1)",
    "talos": "logsumexp_neg(log(sigmoid(neg - threshold)) / c0)"
    " - log(sigmoid(pos - threshold)) / c1",
    "ccl": "1 - pos + c0 * mean_neg(relu(neg - c1))",
    "gbce": "c0 * softplus(0 - pos) + sum_neg(softplus(neg))",
    "bce_sum": "softplus(0 - pos) + sum_neg(softplus(neg))",
    "bce_mean": "softplus(0 - pos) + softplus(neg)",
}


def make(initial_losses=(), **changes):
    section = {**CONFIG.space.to_dict(), "initial_losses": initial_losses, **changes}
    return make_space(**section, family="pairwise", bounds=UNBOUNDED, typed=True)


FILTER = make_rank_filter("cosine", **CONFIG.filter)
SMALL = {
    "operators": ("sub", "mul", "softplus", "logsumexp_neg"),
    "operands": ("pos", "neg", "threshold", "c"),
    "length": 9,
}


def make_small_search(train, initial_losses, *, samples=200, num_candidates=3):
    space = make(initial_losses, **SMALL)
    policy = make_uniform(space.grammar)
    sizes = {"samples": samples, "num_candidates": num_candidates, "hall": 8, "seen_losses": 50}
    reference = named_loss("softmax")
    return space, make_rank_search(policy, space, FILTER, train, reference, **sizes)


def test_every_named_loss_is_a_point_of_the_space():
    assert set(POINTS) == set(PAIRWISE_LOSSES)
    default = make(CONFIG.space.initial_losses)
    for tokens in default.initial_losses:
        assert np.count_nonzero(tokens) <= CONFIG.space.length


# Each pushes positives or negatives alone.
ONE_SIDED = ("softplus(0 - pos)", "tanh(relu(neg))", "neg - stop_gradient(pos)")


@cache
def screen_points():
    """Returns the verdicts on all named losses, as a search that begins with them screens them."""
    formulas = (*POINTS.values(), *ONE_SIDED)
    space = make(formulas, length=24)
    count = len(formulas)
    sizes = {"samples": count, "num_candidates": count, "hall": 4, "seen_losses": 4}
    policy = make_uniform(space.grammar)
    search = make_rank_search(policy, space, FILTER, None, named_loss("softmax"), **sizes)
    state = search.init(jax.random.key(0), None)
    proposal = search.run_generation.args[0].propose(state, jax.random.key(1))
    verdicts = np.asarray(proposal.selection.verdict).tolist()
    return dict(zip((*POINTS, *ONE_SIDED), verdicts, strict=True))


@pytest.mark.parametrize("name", POINTS)
def test_a_named_loss_passes_the_screening(name):
    assert screen_points()[name] == Verdict.TRAINED


@pytest.mark.parametrize("formula", ONE_SIDED)
def test_a_loss_that_pushes_one_side_alone_is_rejected(formula):
    assert screen_points()[formula] == Verdict.WRONG_DIRECTION


def test_losses_that_differ_in_thresholds_or_weights_are_no_twins():
    formulas = (
        "logsumexp_neg(neg - pos)",
        "softplus(pos - threshold) * logsumexp_neg(neg - pos)",
        "softplus(pos) * logsumexp_neg(neg - pos)",
        "logsumexp_neg(neg - pos) * c0",
    )
    space = make(formulas, **SMALL)
    found = compute_fingerprints(space, FILTER, jnp.asarray(space.initial_losses))
    same = np.asarray(are_twins(found, found, tolerance=FILTER.tolerance))
    scaled = (0, 3), (3, 0)  # a factor makes no other loss
    assert {*zip(*np.nonzero(same), strict=True)} == {(i, i) for i in range(4)} | {*scaled}


def test_generations_train_what_is_new_and_learn_from_it():
    calls = []

    def train(losses, data, valid):
        assert (data, valid) == ("data", "valid")
        calls.append(losses)
        rewards = [
            0.2 if loss is reference else 0.3 + len(loss.program.op) / 100 for loss in losses
        ]
        return [CandidateResult(reward, {}) for reward in rewards]

    reference = named_loss("softmax")
    initial = ("logsumexp_neg(neg - pos)", "softplus(neg - pos)")
    space, search = make_small_search(train, initial)
    key = jax.random.key(0)
    state = search.init(key, "valid")
    for number in (1, 2):
        key = jax.random.fold_in(key, number)
        state, result = search.run_generation(state, key, "data", "valid")
        assert np.count_nonzero(result.trained) == 3
        assert result.rewards[0] == pytest.approx(0.2)
        assert np.all(np.asarray(result.rewards)[1:] > 0.3)
    # The reference trains once, in the first generation, after the candidates.
    assert [len(losses) for losses in calls] == [4, 3]
    assert calls[0][-1] is reference
    assert [loss.program.op.tolist() for loss in calls[0][:2]] == [
        build_loss(formula, family="pairwise", bounds=UNBOUNDED).program.op.tolist()
        for formula in initial
    ]
    assert state.base_reward == pytest.approx(0.2)
    gain = np.asarray(state.hall.gain)
    assert np.isfinite(gain).sum() == 6
    assert np.all(np.diff(gain[:6]) <= 0)
    formulas = {write_formula(space, PAIRWISE, tokens) for tokens in state.hall.tokens[:6]}
    assert len(formulas) == 6
    state, advanced = search.advance(state, key, "data", "valid")
    assert not advanced
    assert not np.isfinite(state.round_best.gain).any()


@pytest.mark.parametrize(
    ("sizes", "fragment"),
    [
        ({"samples": 0}, "at least 1 of each"),
        ({"num_candidates": 1}, "raise generation.num_candidates, or name fewer"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes, fragment):
    with pytest.raises(ValueError, match=fragment):
        make_small_search(None, ("softplus(neg - pos)", "logsumexp_neg(neg - pos)"), **sizes)
