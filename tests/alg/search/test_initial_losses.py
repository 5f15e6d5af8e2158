"""Known losses in a space's words, and the search that begins with them."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import build_loss, named_loss
from autolossgen.configs import base
from autolossgen.language.grammar import encode_tokens
from autolossgen.search.checkpoints import open_checkpoints
from autolossgen.search.initial_losses import KNOWN_LOSSES
from autolossgen.search.screening import FILTERS, Verdict
from autolossgen.search.search import make_search
from autolossgen.search.space import make_space
from autolossgen.training.lanes import make_lanes
from tests.helpers import toy_recommender

pytestmark = pytest.mark.slow

SIGNED = (-1e5, 1e5)
SPACES = {
    "default": {"length": 15},
    "long": {"length": 28},
    "rich": {
        "length": 20,
        "operators": ("add", "sub", "mul", "div", "max", "min", "log", "softplus", "relu"),
        "operands": ("pred", "label", "logit", "1", "2", "0.1"),
    },
    "differences": {"length": 15, "operators": ("sub", "mul", "log", "reciprocal", "square")},
    "pairwise": {"length": 10, "family": "pairwise"},
}
WRITTEN = [  # space, named loss, tokens, smoothing
    ("default", "bce", 14, None),
    ("default", "mse", 5, None),
    ("default", "maxr", 12, 1.0),
    ("default", "sumr", 12, 1.0),
    ("long", "hinge", 28, None),
    ("long", "focal", 25, None),
    ("long", "poly1", 28, None),
    ("long", "logmin", 19, 1.0),
    ("rich", "bce", 6, None),
    ("rich", "maxr", 11, 0.1),
    ("rich", "hinge", 12, None),
    ("rich", "margin", 10, None),
    ("differences", "mse", 4, None),
    ("pairwise", "bpr", 4, None),
    ("pairwise", "hinge_rank", 4, None),
    ("pairwise", "sampled_softmax", 5, None),
    ("pairwise", "ccl", 7, None),
    ("pairwise", "bce_sum", 10, None),
    ("pairwise", "bce_mean", 9, None),
]


def space_with(name, *losses, **options):
    return make_space(**{"bounds": SIGNED, **SPACES[name], **options}, initial_losses=losses)


def words(made):
    names = made.vocabulary.names
    return [[names[token] for token in row if token] for row in made.initial_losses]


@cache
def computed(of_pairs):
    """Returns, of each written loss of a family, values and slopes of its tokens and by name."""
    rng = np.random.default_rng(0)
    scores, labels = np.float32(rng.uniform(-6, 6, 60)), np.float32(rng.integers(0, 2, 60))
    others = np.float32(rng.uniform(-6, 6, (60, 3))) if of_pairs else labels
    losses = {}
    for name, loss, _, smoothing in WRITTEN:
        if (name == "pairwise") == of_pairs:
            made = space_with(name, loss)
            (tokens,) = words(made)
            ours = build_loss(tokens, bounds=made.bounds, family=made.vocabulary.family)
            theirs = named_loss(loss, **({"smoothing": smoothing} if smoothing else {}))
            losses[name, loss] = ours, theirs

    def compute(scores, others):
        def at_points(loss):
            return loss(scores, others, reduce_fn=None), jax.grad(loss)(scores, others)

        return [[*map(at_points, pair)] for pair in losses.values()]

    return dict(zip(losses, jax.jit(compute)(scores, others), strict=True))


@pytest.mark.parametrize(("name", "loss", "count"), [row[:3] for row in WRITTEN])
def test_the_tokens_of_a_named_loss_compute_it(name, loss, count):
    made = space_with(name, loss)
    (tokens,) = words(made)
    assert len(tokens) == count
    encode_tokens(tokens, made.vocabulary)  # raises if they are no loss of the space
    values, slopes = zip(*computed(name == "pairwise")[name, loss], strict=True)
    np.testing.assert_allclose(*values, 2e-2, 2e-3)
    np.testing.assert_allclose(*slopes, 2e-2, 1e-4)


def test_a_formula_in_the_space_s_words_stays_as_it_is():
    formulas = ("max(label * reciprocal(pred), pred * reciprocal(label))", "log(pred + label)")
    for bounds in (SIGNED, (1e-5, 1e5)):
        assert words(space_with("default", *formulas, bounds=bounds)) == [
            "label pred reciprocal mul pred label reciprocal mul max".split(),
            "pred label add log".split(),
        ]


def test_no_initial_losses_are_no_rows():
    assert space_with("default").initial_losses.shape == (0, 15)


@pytest.mark.parametrize(
    ("name", "loss", "options", "message"),
    [
        ("default", "bec", {}, "did you mean 'bce'"),
        ("default", "bpr", {}, "initial losses are pointwise losses"),
        ("pairwise", "bce", {}, "initial losses are pairwise losses"),
        ("default", 3, {}, "named losses and formulas, got 3"),
        ("default", "square(label -", {}, "column 15"),
        ("default", "label * sqrt(pred)", {}, "'sqrt' in space.operators"),
        ("default", "square(pred - 0.3)", {}, "'0.3' in space.operands"),
        ("default", "smoothed_bce", {}, "'0.9', '0.05' in space.operands"),
        ("default", "maxr", {"operands": ("pred", "label")}, "add one, such as '1'"),
        ("pairwise", "bpr", {"operators": ("softplus",), "operands": ("pos",)}, "'sub'"),
        ("default", "logmin", {}, "takes 19 tokens, space.length is 15"),
        ("default", "bce", {"length": 9}, "takes 14 tokens, space.length is 9"),
        ("default", "bce", {"bounds": (1e-5, 1e5)}, "another loss under space.bounds"),
    ],
)
def test_what_cannot_be_written_is_refused(name, loss, options, message):
    with pytest.raises(ValueError, match=message):
        space_with(name, loss, **options)


def test_one_loss_is_no_tuple_of_losses():
    with pytest.raises(ValueError, match="tuple of losses"):
        make_space(length=15, bounds=SIGNED, initial_losses="bce")


USERS, ITEMS, SAMPLES, LANES = 20, 15, 12, 4
SPACE = space_with("default", "bce", "mse")
OWN = "label square"  # has no gradient, so only initial losses are trained


class FakeState(NamedTuple):
    tokens: jax.Array  # of its last update
    warmed: jax.Array


class FakePolicy(NamedTuple):
    init = staticmethod(
        lambda key: FakeState(jnp.zeros((SAMPLES, 15), jnp.int32), jnp.zeros((2, 15), jnp.int32))
    )
    update = staticmethod(
        lambda state, tokens, reward, weight, reference: (state._replace(tokens=tokens), {})
    )
    begin_round = staticmethod(lambda state, reward: state)
    warm_start = staticmethod(lambda state, tokens: state._replace(warmed=tokens))

    @staticmethod
    def sample(state, key, count):
        row = encode_tokens(OWN.split(), SPACE.vocabulary)
        return jnp.asarray(np.int32([[*row, *[0] * (15 - len(row))]] * count))


def make(**options):
    section = base.get_config().filter.graded
    sizes = {"samples": SAMPLES, "num_lanes": LANES, "batch_size": 32, "hall": 6, "seen_losses": 16}
    rates = {"learning_rate": 7.0, "weight_decay": 1e-3, "l2": 0.0, "reward_scale": "gradient"}
    return make_search(
        FakePolicy(),
        partial(make_lanes, toy_recommender.make_recommender(USERS, ITEMS, 1.0)),
        SPACE,
        FILTERS["graded"](**section),
        **{"reference": None, "restart": "never", **sizes, **rates, **options},
    )


@cache
def begun():
    """Returns a search, its data, its first state, and state and result of a generation."""
    search = make()
    rng = np.random.default_rng(3)
    data = [toy_recommender.make_interactions(rng, USERS, ITEMS, count) for count in (800, 400)]
    state = search.init(jax.random.key(5), data[1])
    return search, data, state, *search.run_generation(state, jax.random.key(1), *data)


def test_the_policy_is_warmed_up_with_them():
    _, _, first, *_ = begun()
    np.testing.assert_array_equal(first.policy.warmed, SPACE.initial_losses)


def test_they_come_first_in_the_first_generation():
    _, _, _, state, result = begun()
    np.testing.assert_array_equal(state.policy.tokens[:2], SPACE.initial_losses)
    assert len({*map(tuple, state.policy.tokens[2:].tolist())}) == 1
    assert result.verdicts[:3].tolist() == [Verdict.TRAINED, Verdict.TRAINED, Verdict.NO_GRADIENT]


def test_they_are_remembered():
    _, _, _, state, result = begun()
    filled = np.isfinite(state.hall.gain)
    kept = {*map(tuple, np.asarray(state.hall.tokens)[filled].tolist())}
    assert kept == {*map(tuple, SPACE.initial_losses.tolist())}
    assert int(state.seen_losses.num_written) == 2
    # BCE trains as the reference does, which is written with a softplus.
    np.testing.assert_allclose(result.rewards[1], result.rewards[0], atol=2e-3)


def test_no_later_generation_has_them_nor_does_a_resumed_one(tmp_path):
    search, data, first, state, _ = begun()
    saved = open_checkpoints(tmp_path, version="1")
    saved.save(state)

    jax.tree.map(np.testing.assert_array_equal, saved.restore(first), state)
    later, result = search.run_generation(state, jax.random.key(2), *data)
    np.testing.assert_array_equal(later.policy.tokens, FakePolicy.sample((), None, SAMPLES))
    assert not result.trained.any()
    assert search.run_generation._cache_size() == 1  # the first generation is no program of its own


@pytest.mark.parametrize("few", [{"num_lanes": 2}, {"samples": 1}])
def test_initial_losses_that_would_not_be_trained_are_refused(few):
    with pytest.raises(ValueError, match="got 2 initial losses"):
        make(**few)


@pytest.mark.parametrize(
    ("space", "names"),
    [
        ("default", KNOWN_LOSSES["pointwise"]),
        ("rich", KNOWN_LOSSES["pointwise"][1:]),  # it has no reciprocal, nor a square
        ("pairwise", KNOWN_LOSSES["pairwise"]),
    ],
)
def test_known_losses_are_those_that_a_space_can_write(space, names):
    made = make_space(**SPACES[space], bounds=SIGNED, initial_losses=("known",))
    assert made.initial_names == names
    assert (made.initial_losses > 0).any(1).all()
    few = SPACES[space] | {"length": 3}
    assert make_space(**few, bounds=SIGNED, initial_losses=("known",)).initial_names == ()
