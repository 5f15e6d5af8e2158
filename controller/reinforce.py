"""The LSTM policy and its policy-gradient update (Williams, 1992, doi:10.1007/BF00992696)."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from .policy import Grammar, Policy
from .rollout import draw, rollout
from .uniform import make_uniform


class LSTMPolicy(nn.Module):
    """One step of an LSTM over tokens: logits of the next token, squashed as in the paper."""

    size: int  # V
    width: int
    init_range: float
    squash: float

    @nn.compact
    def __call__(self, carry: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        """Give the next carry and logits [M, V] after tokens [M]; padding stands for the start."""

        def uniform(key, shape, dtype=jnp.float32):
            return jax.random.uniform(key, shape, dtype, -self.init_range, self.init_range)

        embedded = nn.Embed(self.size, self.width, embedding_init=uniform)(tokens)
        cell = nn.OptimizedLSTMCell(self.width, kernel_init=uniform, recurrent_kernel_init=uniform)
        carry, hidden = cell(carry, embedded)
        logits = nn.Dense(self.size, kernel_init=uniform)(hidden)
        return carry, self.squash * jnp.tanh(logits)


class ReinforceState(NamedTuple):
    """Weights, optimizer and the moving baseline."""

    params: Any
    optimizer: optax.OptState
    baseline: jax.Array  # float32 [], NaN until the first reward


def make_reinforce(
    grammar: Grammar,
    *,
    width: int,
    init_range: float,
    squash: float,
    learning_rate: float,
    b1: float,
    b2: float,
    eps: float,
    clip_norm: float,
    entropy_weight: float,
    baseline_decay: float,
    normalize: bool,
    below_baseline: float | None,
    explore: float,
    warm_steps: int,
    quantile: float | None = None,
) -> Policy:
    """Make the LSTM policy trained by REINFORCE.

    The loss is ``-(reward - baseline) * log_prob - entropy_weight * entropy``, averaged over the
    sequences that have a reward.

    Args:
      grammar: masks the logits.
      width: of the LSTM and the token embedding.
      init_range: weights start uniform in plus or minus this.
      squash: logits are ``squash * tanh(.)``, which keeps the policy from closing its mind.
      learning_rate, b1, b2, eps: of Adam.
      clip_norm: gradients are scaled down to this global norm.
      entropy_weight: bonus for undecided policies.
      baseline_decay: the baseline keeps this much at each reward.
      normalize: divide the advantage by the standard deviation of the rewards.
      below_baseline: a reward below the baseline becomes this and leaves the baseline alone
        (the paper's reward filter: -1); None for no such filter.
      quantile: learn only from the rewards above this quantile of a generation, which is then
        the baseline (risk-seeking policy gradient: Petersen et al., 2021, arXiv:1912.04871);
        None to learn from all.
      explore: share of the sequences in which every token that the grammar allows is equally
        likely, against a policy that writes one kind of loss only. They teach like the others.
      warm_steps: of Adam that raise the likelihood of the seeds, if there are any, before the
        first generation, so that it writes variations of them.

    Raises:
      ValueError: for values out of range.
    """
    if not 0 <= baseline_decay < 1:
        raise ValueError(f"baseline_decay is in [0, 1), got {baseline_decay}")
    if quantile is not None and not 0 < quantile < 1:
        raise ValueError(f"quantile is between 0 and 1, or None, got {quantile}")
    if not 0 <= explore < 1:
        raise ValueError(f"explore is in [0, 1), got {explore}")
    if warm_steps < 0:
        raise ValueError(f"warm_steps is at least 0, got {warm_steps}")
    if min(width, init_range, squash, learning_rate, clip_norm) <= 0:
        raise ValueError("width, init_range, squash, learning_rate and clip_norm are positive")
    anything = make_uniform(grammar)
    module = LSTMPolicy(grammar.size, width, init_range, squash)
    optimizer = optax.chain(
        optax.clip_by_global_norm(clip_norm), optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)
    )

    def roll(params, count, pick, inputs):
        carry = (jnp.zeros((count, width)), jnp.zeros((count, width)))
        return rollout(grammar, lambda c, t: module.apply(params, c, t), carry, count, pick, inputs)

    def replay(params, tokens):
        return roll(params, tokens.shape[0], lambda logits, given: given, tokens.T)

    def step(gradient, state):
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, optimizer=optimizer_state)

    def init(key):
        carry = (jnp.zeros((1, width)), jnp.zeros((1, width)))
        params = module.init(key, carry, jnp.zeros(1, jnp.int32))
        return ReinforceState(params, optimizer.init(params), jnp.float32(jnp.nan))

    def sample(state, key, count):
        free = math.floor(explore * count)
        own_key, free_key = jax.random.split(key)
        keys = jax.random.split(own_key, grammar.length)
        own = roll(state.params, count - free, draw, keys).tokens
        if not free:
            return own
        # What explores comes first, for the first of a generation are the first to be trained.
        return jnp.concatenate([anything.sample((), free_key, free), own])

    def update(state, tokens, reward, weight, reference):
        del reference  # rewards are compared with the others of their generation
        share = weight / jnp.maximum(weight.sum(), 1e-30)
        mean = jnp.sum(share * reward)
        baseline = jnp.where(jnp.isnan(state.baseline), mean, state.baseline)
        counts = weight
        if below_baseline is not None:
            below = reward < baseline - 1e-5
            reward = jnp.where(below, below_baseline, reward)
            counts = weight * ~below
        # The baseline moves by 1 - decay at each reward that counts, all with their mean.
        kept = baseline_decay ** counts.sum()
        accepted = jnp.sum(counts * reward) / jnp.maximum(counts.sum(), 1e-30)
        moved = kept * baseline + (1 - kept) * accepted
        moved = jnp.where(counts.sum() > 0, moved, state.baseline)
        level = baseline
        if quantile is not None:
            level = jnp.nanquantile(jnp.where(weight > 0, reward, jnp.nan), quantile)
            weight = weight * (reward >= level)
            # Only the best teach, so only they are rolled out again.
            best = math.ceil((1 - quantile) * len(reward)) + 1
            _, best = jax.lax.top_k(jnp.where(weight > 0, reward, -jnp.inf), min(best, len(reward)))
            tokens, reward, weight = tokens[best], reward[best], weight[best]
            share = weight / jnp.maximum(weight.sum(), 1e-30)
        advantage = jnp.where(weight > 0, reward - level, 0.0)  # no reward, no level: 0, not NaN
        if normalize:
            mean = jnp.sum(share * reward)
            deviation = jnp.sqrt(jnp.sum(share * (reward - mean) ** 2))
            advantage = advantage / jnp.maximum(deviation, 1e-6)

        def loss(params):
            written = replay(params, tokens)
            gain = jnp.sum(share * advantage * written.log_prob)
            entropy = jnp.sum(share * written.entropy)
            return -gain - entropy_weight * entropy, entropy

        gradient, entropy = jax.grad(loss, has_aux=True)(state.params)
        state = step(gradient, state)._replace(baseline=moved)
        return state, {"baseline": moved, "entropy": entropy}

    def begin_round(state, reward):
        # The paper starts each round's baseline where the recommender stands.
        return state._replace(baseline=reward) if below_baseline is not None else state

    def warm_start(state, seeds):
        def unlikely(params):
            return -jnp.mean(replay(params, seeds).log_prob)

        def learn(state, _):
            return step(jax.grad(unlikely)(state.params), state), None

        warm, _ = jax.lax.scan(learn, state, length=warm_steps)
        return state._replace(params=warm.params)  # what Adam remembers is of another loss

    return Policy(init, sample, update, begin_round, warm_start)
