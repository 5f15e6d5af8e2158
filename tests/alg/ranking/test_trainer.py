"""Training for rankings against dense Adam on losses written by hand."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autolossgen import named_loss
from autolossgen.models.lightgcn import make_lightgcn
from autolossgen.models.matrix_factorization import make_matrix_factorization
from autolossgen.ranking import trainer as module
from autolossgen.ranking.negatives import Negatives, draw_negatives
from autolossgen.ranking.trainer import (
    LaneSettings,
    RankTrainer,
    make_eval_split,
    make_rank_trainer,
    make_training_pairs,
    train_epochs,
)
from autolossgen.training.permutation import random_permutation
from tests.helpers.ranking_sets import propagate_densely, sets_from

pytestmark = pytest.mark.slow

USERS, ITEMS, WIDTH, BATCH, TOP = 6, 8, 3, 8, 3
SCORES = ("dot", "cosine", "half_cosine", "sigmoid")
# As many negatives as items, and as examples in a batch: one reference is compiled for all.
CASES = {
    "all": ("dot", Negatives("all")),
    "shared": ("cosine", Negatives("shared", ITEMS, power=1.0, correct=True)),
    "each": ("half_cosine", Negatives("each", ITEMS, power=0.5)),
    "in_batch": ("sigmoid", Negatives("in_batch", correct=True)),
    "mixed": ("dot", Negatives("mixed", ITEMS, correct=True)),
}
NEVER_TRAINED = 7  # an item that is in no pair
LIKED = np.random.default_rng(3).random((USERS, ITEMS)) < 0.5
LIKED[:, NEVER_TRAINED], LIKED[:, 0] = False, np.arange(USERS) < 3
SETTINGS = {
    "learning_rate": np.array([0.05, 0.1, 0.02], np.float32),
    "weight_decay": np.array([0.0, 0.3, 0.01], np.float32),
    "temperature": np.array([0.2, 1.0, 0.5], np.float32),
}
LANES = len(SETTINGS["learning_rate"])
ONE_EPOCH = jnp.ones(LANES, jnp.int32)


def to_settings(**values):
    values = SETTINGS | values
    return LaneSettings(
        values["learning_rate"],
        values["weight_decay"],
        {k: v for k, v in values.items() if k not in ("learning_rate", "weight_decay")},
    )


@cache
def make_keys():
    return jax.random.split(jax.random.key(5), LANES)


@cache
def make_model():
    return make_matrix_factorization(USERS, ITEMS, embedding_dim=WIDTH, init_scale=1.0)


@cache
def make_trainer(case, loss=None):
    score, negatives = CASES[case]
    return make_rank_trainer(
        make_model(),
        loss or named_loss("softmax"),
        score=score,
        negatives=negatives,
        batch_size=BATCH,
        top=TOP,
        cutoffs=(2, 4),
    )


def make_data(case):
    return make_training_pairs(sets_from(LIKED), ITEMS, power=CASES[case][1].power)


def start(case):
    return make_trainer(case).init(make_keys())


def train(case, settings, data=None, *, trainer=None, keys=None, state=None):
    """Returns the parameters after an epoch, in NumPy, and the state."""
    trainer = trainer or make_trainer(case)
    keys = make_keys() if keys is None else keys
    state = trainer.init(keys) if state is None else state
    state = trainer.train(state, settings, data or make_data(case), keys, ONE_EPOCH)
    return jax.device_get(state.params), state


@jax.jit
def train_by_hand(params, rate, decay, temperature, score, batches, spread):
    """Trains on batches of users, items and weights [B], and negatives, mask and log q [B, n].

    Embeddings are the product of the matrix ``spread`` and both tables, one below the other.
    """
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.adam(rate))
    opt_state = optimizer.init(params)

    def unit(x):
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def score_pairs(params, users, items):
        tables = spread @ jnp.concatenate([params["user"], params["item"]])
        user, item = tables[users], tables[USERS + items]
        dot, cosine = jnp.sum(user * item, -1), jnp.sum(unit(user) * unit(item), -1)
        return jnp.stack([dot, cosine, cosine / 2, 1 / (1 + jnp.exp(-dot))])[score]

    def mean_loss(params, batch):
        users, items, weight, negatives, mask, log_q = batch
        pos = score_pairs(params, users, items)
        neg = score_pairs(params, users[:, None], negatives)
        logits = jnp.where(mask, (neg - pos[:, None]) / temperature - log_q, -1e30)
        most = jnp.max(logits, axis=1)
        total = jnp.sum(mask * jnp.exp(logits - most[:, None]), axis=1)
        return jnp.sum(weight * (most + jnp.log(total))) / jnp.sum(weight)

    def step(carry, batch):
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(mean_loss)(params, batch), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    return jax.lax.scan(step, (params, opt_state), batches)[0][0]


@cache
def compile_draw(case):
    negatives = CASES[case][1]
    return jax.jit(lambda chances, items, key: draw_negatives(negatives, chances, items, key))


def draw_batches(case, data, key):
    """Returns the batches of an epoch as the trainer draws them; the last one is filled up."""
    users, items = np.nonzero(LIKED)
    steps = -(-len(users) // BATCH)
    assert len(users) % BATCH
    order_key, step_key = jax.random.split(jax.random.fold_in(key, 1))  # of the first epoch
    order = np.resize(random_permutation(order_key, len(users)), (steps, BATCH))
    weight = np.float32(np.arange(steps * BATCH).reshape(steps, BATCH) < len(users))
    batches = []
    for chosen, w, draw_key in zip(order, weight, jax.random.split(step_key, steps), strict=True):
        negatives, log_q = np.arange(ITEMS), np.zeros(ITEMS)
        if case != "all":
            drawn = compile_draw(case)(data.chances, items[chosen].astype(np.int32), draw_key)
            negatives = np.asarray(drawn.items)
            if CASES[case][1].correct:
                log_q = np.asarray(drawn.log_q)
        negatives, log_q = (np.broadcast_to(x, (BATCH, ITEMS)) for x in (negatives, log_q))
        mask = ~LIKED[users[chosen][:, None], negatives]
        batches.append((users[chosen], items[chosen], w, negatives, mask, np.float32(log_q)))
    return [np.stack(parts) for parts in zip(*batches, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_is_that_of_dense_adam(case):
    """Each lane has its own start, settings and random numbers; what users like is no negative."""
    data = make_data(case)
    before = jax.device_get(start(case).params)
    found, _ = train(case, to_settings())
    for lane in range(LANES):
        expected = train_by_hand(
            {name: table[lane] for name, table in before.items()},
            *(SETTINGS[name][lane] for name in ("learning_rate", "weight_decay", "temperature")),
            SCORES.index(CASES[case][0]),
            draw_batches(case, data, make_keys()[lane]),
            np.eye(USERS + ITEMS, dtype=np.float32),
        )
        for name, table in expected.items():
            np.testing.assert_allclose(found[name][lane], table, atol=3e-5, err_msg=name)
            assert np.abs(before[name][lane] - table).max() > 0.01


def test_an_epoch_of_lightgcn_is_that_of_powers_of_a_dense_matrix():
    """Gradients go through the graph to all rows, and decay and Adam work on the tables."""
    liked, layers = sets_from(LIKED), 2
    sizes = {"layers": layers, "embedding_dim": WIDTH, "init_scale": 1.0}
    model = make_lightgcn(liked, ITEMS, **sizes)
    trainer = make_rank_trainer(model, named_loss("softmax"), batch_size=BATCH, top=TOP)
    before = jax.device_get(trainer.init(make_keys()).params)
    found, _ = train("all", to_settings(), trainer=trainer)
    for lane in range(LANES):
        expected = train_by_hand(
            {name: table[lane] for name, table in before.items()},
            *(SETTINGS[name][lane] for name in ("learning_rate", "weight_decay", "temperature")),
            SCORES.index("dot"),
            draw_batches("all", make_data("all"), make_keys()[lane]),
            propagate_densely(LIKED, layers).astype(np.float32),
        )
        for name, table in expected.items():
            np.testing.assert_allclose(found[name][lane], table, atol=3e-5, err_msg=name)
            assert np.abs(before[name][lane] - table).max() > 0.01


@pytest.mark.parametrize("case", CASES)
def test_a_known_positive_is_never_a_negative(case):
    settings = to_settings(weight_decay=np.zeros(LANES, np.float32))
    data = make_data(case)
    before = jax.device_get(start(case).params)["item"][:, NEVER_TRAINED]
    after, _ = train(case, settings, data)
    # In a batch there are no negatives that nobody likes.
    assert np.array_equal(after["item"][:, NEVER_TRAINED], before) == (case == "in_batch")
    unknown = data.unknown.at[:, NEVER_TRAINED].set(False)
    after, _ = train(case, settings, data._replace(unknown=unknown))
    np.testing.assert_array_equal(after["item"][:, NEVER_TRAINED], before)


@cache
def train_two_epochs():
    state = start("all")
    return make_trainer("all").train(
        state, to_settings(), make_data("all"), make_keys(), 2 * ONE_EPOCH
    )


def test_each_lane_trains_for_its_own_epochs():
    before, epochs = jax.device_get(start("all").params), jnp.arange(LANES)
    trainer = make_trainer("all")
    state = trainer.train(start("all"), to_settings(), make_data("all"), make_keys(), epochs)
    np.testing.assert_array_equal(state.epoch, epochs)
    for name, values in jax.device_get(state.params).items():
        np.testing.assert_array_equal(values[0], before[name][0])
        np.testing.assert_array_equal(values[2], train_two_epochs().params[name][2])
        assert not np.array_equal(values[1], train_two_epochs().params[name][1])


def test_epochs_in_two_calls_are_those_of_one():
    _, once = train("all", to_settings())
    after, twice = train("all", to_settings(), state=once)
    np.testing.assert_array_equal(twice.epoch, 2)
    for name, values in after.items():
        np.testing.assert_array_equal(values, train_two_epochs().params[name])


def test_lanes_do_not_depend_on_each_other():
    """In another order, and beside a lane that diverges, a lane is the same to the last bit."""
    found, state = train("all", to_settings())
    turned = {name: np.roll(value, 1) for name, value in SETTINGS.items()}
    other, _ = train("all", to_settings(**turned), keys=jnp.roll(make_keys(), 1))
    for name, table in found.items():
        np.testing.assert_array_equal(np.roll(table, 1, axis=0), other[name])
    rate = SETTINGS["learning_rate"].copy()
    rate[1] = 1e30
    diverged, broken = train("all", to_settings(learning_rate=rate))
    for name, table in found.items():
        np.testing.assert_array_equal(table[[0, 2]], diverged[name][[0, 2]])
        assert not np.isfinite(diverged[name][1]).all()
    kept = jax.device_get(broken)
    _, broken = train("all", to_settings(learning_rate=rate), state=broken)
    np.testing.assert_array_equal(broken.epoch, [2, 1, 2])  # a lane that has diverged is left alone
    np.testing.assert_array_equal(broken.params["user"][1], kept.params["user"][1])
    _, state = train("all", to_settings(), state=state)
    relevant = sets_from(~LIKED)
    split = make_eval_split(relevant, [sets_from(LIKED)], ITEMS)
    good, bad = (make_trainer("all").evaluate(s, split) for s in (state, broken))
    for name in good.users:
        np.testing.assert_array_equal(good.users[name][::2], bad.users[name][::2])
        assert not np.any(bad.users[name][1]), name


def test_lanes_that_are_mapped_together_are_those_one_by_one(monkeypatch):
    """On an accelerator lanes are a vmap, on CPU a loop."""
    split = make_eval_split(sets_from(~LIKED), [sets_from(LIKED)], ITEMS)

    def run(trainer):
        params, state = train("each", to_settings(), trainer=trainer)
        found = trainer.evaluate(state, split)
        threshold = trainer.refresh_thresholds(state).threshold
        return params, threshold, found, trainer.score(state, jnp.arange(USERS))

    one_by_one = run(make_trainer("each"))
    monkeypatch.setattr(module.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(module, "_compile_scoring", module._compile_scoring.__wrapped__)
    together = run(make_trainer.__wrapped__("each"))
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), together, one_by_one)


def test_thresholds_are_the_scores_at_the_last_rank_that_counts():
    state = start("shared")
    for after in (
        state,
        make_trainer("shared").refresh_thresholds(train("shared", to_settings())[1]),
    ):
        user, item = (np.asarray(after.params[name], np.float64) for name in ("user", "item"))
        user, item = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (user, item))
        scores = user @ item.transpose(0, 2, 1)
        expected = np.sort(scores, axis=-1)[..., -TOP]
        np.testing.assert_allclose(after.threshold, expected, atol=1e-6)
        found = make_trainer("shared").score(after, jnp.arange(USERS))
        np.testing.assert_allclose(found, scores, atol=1e-6)


def test_thresholds_are_refreshed_every_few_epochs_from_the_first_one_on():
    calls = []

    def train(state, settings, data, keys, epochs):
        calls.append(epochs.tolist())
        return state

    def refresh(state):
        calls.append("refresh")
        return state

    trainer = RankTrainer(None, train, refresh, None, None, reads_threshold=True)
    go_on = partial(train_epochs, trainer, None, None, None, None)
    go_on(np.array([7, 0]), done=0, refresh_every=3)
    assert calls == [[3, 0], "refresh", [3, 0], "refresh", [1, 0]]
    calls.clear()
    go_on(np.array([4]), done=7, refresh_every=3)  # an epoch after the last one
    assert calls == [[2], "refresh", [2]]
    calls.clear()
    train_epochs(
        trainer._replace(reads_threshold=False),
        *[None] * 4,
        np.array([4, 1]),
        done=7,
        refresh_every=3,
    )
    assert calls == [[4, 1]]


def test_constants_of_lanes_do_what_those_of_a_named_loss_do():
    """Of a loss that reads thresholds, and of the correction of its negatives."""
    temperature, weight_temperature = (
        np.array(x, np.float32) for x in ([0.2, 0.5, 1], [1, 3, 0.5])
    )
    constants = {"temperature": temperature, "weight_temperature": weight_temperature}
    settings = to_settings()._replace(constants=constants)
    by_lanes = make_trainer("shared", named_loss("sl_at_k"))
    assert by_lanes.reads_threshold
    assert not make_trainer("shared").reads_threshold
    found, _ = train("shared", settings, trainer=by_lanes)
    lane = 1
    loss = named_loss("sl_at_k", temperature=0.5, weight_temperature=3)
    named = make_trainer("shared", loss)
    expected, _ = train("shared", settings._replace(constants={}), trainer=named)
    for name, table in found.items():
        np.testing.assert_allclose(table[lane], expected[name][lane], atol=1e-6)
        assert np.abs(table[0] - expected[name][0]).max() > 1e-3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"score": "cosin"}, "did you mean 'cosine'"),
        ({"negatives": Negatives("some")}, "negatives are one of all"),
        ({"loss": named_loss("bce")}, "pairwise losses, got a pointwise one"),
        ({"batch_size": 0}, "batch_size, top and cutoffs are at least 1, got 0, 20"),
        ({"cutoffs": ()}, r"batch_size, top and cutoffs are at least 1, got 1024, 20 and \(\)"),
    ],
)
def test_settings_that_cannot_be_are_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_rank_trainer(make_model(), **{"loss": named_loss("bpr"), **wrong})


def test_data_that_cannot_be_trained_on_are_errors(monkeypatch):
    with pytest.raises(ValueError, match="no pair of a user and an item to train on"):
        make_training_pairs(sets_from(np.zeros((2, 3), bool)), 3)
    monkeypatch.setattr(module, "MAX_CELLS", 47)
    with pytest.raises(ValueError, match=r"6 users times 8 items are 48 pairs, over 47"):
        make_training_pairs(sets_from(LIKED), ITEMS)
