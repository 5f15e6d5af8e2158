"""The LSTM policy and its policy-gradient update (Williams, 1992, doi:10.1007/BF00992696)."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from autolossgen.interfaces import Grammar, Policy

from .rollout import Rollout, roll_out, sample_token
from .uniform import make_uniform


class LSTMPolicy(nn.Module):
    """One step of an LSTM over tokens: logits of the next token, squashed as in the paper."""

    size: int  # V
    hidden_dim: int
    init_range: float
    squash: float

    @nn.compact
    def __call__(self, carry: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        """Returns the next carry and logits [M, V] after tokens [M]; padding marks the start."""

        def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -self.init_range, self.init_range)

        embedded = nn.Embed(self.size, self.hidden_dim, embedding_init=uniform)(tokens)
        cell = nn.OptimizedLSTMCell(
            self.hidden_dim, kernel_init=uniform, recurrent_kernel_init=uniform
        )
        carry, hidden = cell(carry, embedded)
        logits = nn.Dense(self.size, kernel_init=uniform)(hidden)
        return carry, self.squash * jnp.tanh(logits)


class ReinforceState(NamedTuple):
    """Parameters, the optimizer's state and the moving average of rewards.

    Flax's ``TrainState`` would add a counter of steps and the static functions to what is saved,
    and the moving average would still need a subclass.
    """

    params: Any
    opt_state: optax.OptState
    moving_average: jax.Array  # float32 [], -inf until the first reward
    skipped: jax.Array  # int32 [], updates that were not finite


class _Network(NamedTuple):
    """The LSTM over whole sequences."""

    init: Callable[[jax.Array], Any]  # key -> params
    sample: Callable[[Any, jax.Array, int], jax.Array]  # params, key, M -> tokens [M, L]
    replay: Callable[[Any, jax.Array], Rollout]  # params, tokens [M, L] -> their probabilities


class _Learner(NamedTuple):
    """What the policy is made of, and how it learns; see ``make_reinforce``."""

    network: _Network
    uniform: Policy  # explores
    optimizer: optax.GradientTransformation
    entropy_weight: float
    moving_average_decay: float
    normalize: bool
    below_average: float | None
    quantile: float | None
    explore: float
    warm_steps: int


def make_reinforce(
    grammar: Grammar,
    *,
    hidden_dim: int,
    init_range: float,
    squash: float,
    learning_rate: float,
    b1: float,
    b2: float,
    eps: float,
    clip_norm: float,
    entropy_weight: float,
    moving_average_decay: float,
    normalize: bool,
    below_average: float | None,
    explore: float,
    warm_steps: int,
    quantile: float | None = None,
) -> Policy:
    """Builds the LSTM policy that REINFORCE trains.

    The loss is ``-(reward - moving_average) * log_prob - entropy_weight * entropy``, averaged over
    the sequences that have a reward.

    Args:
      grammar: masks the logits.
      hidden_dim: size of the LSTM's state and of the token embedding.
      init_range: weights start uniform in plus or minus this.
      squash: logits are ``squash * tanh(.)``. Bounded logits keep the policy from premature
        convergence.
      learning_rate: of Adam.
      b1: of Adam.
      b2: of Adam.
      eps: of Adam.
      clip_norm: gradients are scaled down to this global norm.
      entropy_weight: weight of the entropy bonus.
      moving_average_decay: the moving average of rewards decays by this factor at each reward.
      normalize: divide the advantage by the standard deviation of the rewards.
      below_average: a reward below the moving average becomes this and does not change the average
        (the paper's reward filter: -1); None for no such filter.
      quantile: learn only from the rewards above this quantile of a generation, which then takes
        the place of the moving average (risk-seeking policy gradient: Petersen et al., 2021,
        arXiv:1912.04871); None to learn from all.
      explore: fraction of the sequences that are drawn uniformly from the grammar, for exploration.
        The policy learns from them as from the others.
      warm_steps: steps of Adam that raise the likelihood of the initial losses, if there are any,
        before the first generation, so that it writes variations of them.

    Raises:
      ValueError: for values out of range.
    """
    if min(hidden_dim, init_range, squash, learning_rate, clip_norm) <= 0:
        raise ValueError("hidden_dim, init_range, squash, learning_rate and clip_norm are positive")
    adam = optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)
    module = LSTMPolicy(
        size=grammar.size, hidden_dim=hidden_dim, init_range=init_range, squash=squash
    )
    learner = _Learner(
        network=_make_network(grammar, module),
        uniform=make_uniform(grammar),
        optimizer=optax.chain(optax.clip_by_global_norm(clip_norm), adam),
        entropy_weight=entropy_weight,
        moving_average_decay=moving_average_decay,
        normalize=normalize,
        below_average=below_average,
        quantile=quantile,
        explore=explore,
        warm_steps=warm_steps,
    )
    _check_learner(learner)
    return Policy(
        init=partial(_init_state, learner),
        sample=partial(_sample, learner),
        update=partial(_update, learner),
        begin_round=partial(_begin_round, learner),
        warm_start=partial(_warm_start, learner),
    )


def _check_learner(learner: _Learner) -> None:
    if not 0 <= learner.moving_average_decay < 1:
        raise ValueError(f"moving_average_decay is in [0, 1), got {learner.moving_average_decay}")
    if learner.quantile is not None and not 0 < learner.quantile < 1:
        raise ValueError(f"quantile is between 0 and 1, or None, got {learner.quantile}")
    if not 0 <= learner.explore < 1:
        raise ValueError(f"explore is in [0, 1), got {learner.explore}")
    if learner.warm_steps < 0:
        raise ValueError(f"warm_steps is at least 0, got {learner.warm_steps}")


def _init_state(learner: _Learner, key: jax.Array) -> ReinforceState:
    params = learner.network.init(key)
    return ReinforceState(
        params=params,
        opt_state=learner.optimizer.init(params),
        moving_average=jnp.float32(-jnp.inf),
        skipped=jnp.int32(0),
    )


def _sample(learner: _Learner, state: ReinforceState, key: jax.Array, count: int) -> jax.Array:
    """Samples tokens [M, L]."""
    num_uniform = math.floor(learner.explore * count)
    own_key, uniform_key = jax.random.split(key)
    tokens = learner.network.sample(state.params, own_key, count - num_uniform)
    if not num_uniform:
        return tokens
    # Exploration comes first, for the first of a generation are the first to be trained.
    return jnp.concatenate([learner.uniform.sample((), uniform_key, num_uniform), tokens])


def _update(
    learner: _Learner,
    state: ReinforceState,
    tokens: jax.Array,
    reward: jax.Array,
    weight: jax.Array,
    reference: jax.Array,
) -> tuple[ReinforceState, Mapping[str, jax.Array]]:
    """Learns from one generation, as ``UpdateFn`` says."""
    del reference  # rewards are compared with the others of their generation
    share = weight / jnp.maximum(weight.sum(), 1e-30)
    mean = jnp.sum(share * reward)
    average = jnp.where(jnp.isneginf(state.moving_average), mean, state.moving_average)
    reward, counted = filter_rewards(reward, weight, average, learner.below_average)
    moved = update_moving_average(average, reward, counted, learner.moving_average_decay)
    moved = jnp.where(counted.sum() > 0, moved, state.moving_average)
    level = average
    if learner.quantile is not None:
        tokens, reward, weight, level = select_elite(tokens, reward, weight, learner.quantile)
        share = weight / jnp.maximum(weight.sum(), 1e-30)
    advantage = compute_advantages(reward, weight, share, level, learner.normalize)

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        replayed = learner.network.replay(params, tokens)
        gain = jnp.sum(share * advantage * replayed.log_prob)
        entropy = jnp.sum(share * replayed.entropy)
        return -gain - learner.entropy_weight * entropy, entropy

    grads, entropy = jax.grad(loss, has_aux=True)(state.params)
    state = _descend(learner, grads, state)._replace(moving_average=moved)
    # As metrics.jsonl calls them.
    return state, {"baseline": moved, "entropy": entropy, "skipped_updates": state.skipped}


def _descend(learner: _Learner, grads: Any, state: ReinforceState) -> ReinforceState:
    """Takes one step of the optimizer, unless something in it is not finite: then it is counted."""
    updates, opt_state = learner.optimizer.update(grads, state.opt_state, state.params)
    new = optax.apply_updates(state.params, updates), opt_state
    is_finite = jnp.stack([jnp.isfinite(part).all() for part in jax.tree.leaves(new)]).all()
    params, opt_state = jax.tree.map(
        lambda after, before: jnp.where(is_finite, after, before),
        new,
        (state.params, state.opt_state),
    )
    return state._replace(params=params, opt_state=opt_state, skipped=state.skipped + ~is_finite)


def _begin_round(learner: _Learner, state: ReinforceState, reward: jax.Array) -> ReinforceState:
    # In the paper the average of each round starts from the recommender's reward.
    return state._replace(moving_average=reward) if learner.below_average is not None else state


def _warm_start(learner: _Learner, state: ReinforceState, tokens: jax.Array) -> ReinforceState:
    """Raises the likelihood of the initial losses' tokens [n, L]."""

    def loss(params: Any) -> jax.Array:
        return -jnp.mean(learner.network.replay(params, tokens).log_prob)

    def learn(state: ReinforceState, _: None) -> tuple[ReinforceState, None]:
        return _descend(learner, jax.grad(loss)(state.params), state), None

    warm, _ = jax.lax.scan(learn, state, length=learner.warm_steps)
    return state._replace(params=warm.params)  # Adam's moments are those of another loss


def filter_rewards(
    reward: jax.Array, weight: jax.Array, average: jax.Array, below_average: float | None
) -> tuple[jax.Array, jax.Array]:
    """Applies the paper's reward filter.

    Args:
      reward: [M].
      weight: [M], 0 where there is no reward.
      average: [], the moving average of the rewards before.
      below_average: what a reward below the average becomes; None for no filter.

    Returns:
      The rewards [M], and the weights [M] with which they count in the next moving average.
    """
    if below_average is None:
        return reward, weight
    below = reward < average - 1e-5
    return jnp.where(below, below_average, reward), weight * ~below


def update_moving_average(
    average: jax.Array, reward: jax.Array, counted: jax.Array, decay: float
) -> jax.Array:
    """Returns the moving average [] after rewards [M] that count with weights [M].

    It moves by ``1 - decay`` at each reward that counts, as if each were the mean of them all: so
    their order does not matter.
    """
    remaining = decay ** counted.sum()
    mean = jnp.sum(counted * reward) / jnp.maximum(counted.sum(), 1e-30)
    return remaining * average + (1 - remaining) * mean


def select_elite(
    tokens: jax.Array, reward: jax.Array, weight: jax.Array, quantile: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Selects the sequences with the highest rewards, so that only they are replayed.

    Returns:
      Tokens [m, L], rewards [m] and weights [m] of the elite, 0 for those below the quantile; and
      the quantile of the rewards, [].
    """
    level = jnp.nanquantile(jnp.where(weight > 0, reward, jnp.nan), quantile)
    weight = weight * (reward >= level)
    count = math.ceil((1 - quantile) * len(reward)) + 1
    _, elite = jax.lax.top_k(jnp.where(weight > 0, reward, -jnp.inf), min(count, len(reward)))
    return tokens[elite], reward[elite], weight[elite], level


def compute_advantages(
    reward: jax.Array, weight: jax.Array, share: jax.Array, level: jax.Array, normalize: bool
) -> jax.Array:
    """Returns by how much each reward [M] exceeds the level [], 0 where there is no reward.

    With ``normalize``, in units of the standard deviation of the rewards under the shares [M],
    which sum to 1.
    """
    # Without any reward the level is NaN.
    advantage = jnp.where(weight > 0, reward - level, 0.0)
    if not normalize:
        return advantage
    mean = jnp.sum(share * reward)
    deviation = jnp.sqrt(jnp.sum(share * (reward - mean) ** 2))
    return advantage / jnp.maximum(deviation, 1e-6)


def _make_network(grammar: Grammar, module: LSTMPolicy) -> _Network:
    """Builds the functions of the LSTM over whole sequences."""

    def make_carry(count: int) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((count, module.hidden_dim)), jnp.zeros((count, module.hidden_dim))

    def roll(
        params: Any, count: int, pick: Callable[[jax.Array, Any], jax.Array], inputs: Any
    ) -> Rollout:
        def step(carry: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
            result: Any = module.apply(params, carry, tokens)  # Flax may add variables to it
            return result

        return roll_out(grammar, step, make_carry(count), count, pick, inputs)

    def init(key: jax.Array) -> Any:
        return module.init(key, make_carry(1), jnp.zeros(1, jnp.int32))

    def sample(params: Any, key: jax.Array, count: int) -> jax.Array:
        return roll(params, count, sample_token, jax.random.split(key, grammar.length)).tokens

    def replay(params: Any, tokens: jax.Array) -> Rollout:
        return roll(params, tokens.shape[0], lambda logits, token: token, tokens.T)

    return _Network(init=init, sample=sample, replay=replay)
