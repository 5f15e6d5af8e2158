"""The search: generations of candidate losses, and the base model that advances between them.

A generation samples losses, screens them, trains the valid ones in lanes that all start from the
base model, and rewards the policy. It is one compiled function. After some generations, a round,
the base model is trained on with the best loss of the round, or begins again. The loops over
generations and rounds are the caller's, so that a run can be watched, stopped and resumed.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from ..interfaces import Array, Batch, Data, Policy
from ..training.chunks import subsample
from ..training.lanes import Lanes, LaneState, where_lane
from ..training.loss_gradients import LogitGradFn
from ..training.random_keys import NEVER_CHOSEN, RESTART, SUBSAMPLE
from ..training.tasks import RATING, Task
from .candidates import CandidateTrainer, make_candidate_trainer
from .generation import (
    GenerationResult,
    Generations,
    SearchState,
    init_state,
    learn,
    propose,
)
from .screening import Filter
from .space import Space

GenerationFn = Callable[
    [SearchState, Array, Data, Batch],  # state, key, training data, reward split
    tuple[SearchState, GenerationResult],
]
AdvanceFn = Callable[
    [SearchState, Array, Data, Batch],  # the same
    tuple[SearchState, Array],  # state, and whether the base model was trained on
]


class Search(NamedTuple):
    """A search as pure functions of its state."""

    init: Callable[[Array, Batch], SearchState]  # key, reward split
    run_generation: GenerationFn
    advance: AdvanceFn


class _Parts(NamedTuple):
    """The parts and settings that the functions of a search share."""

    generations: Generations
    trainer: CandidateTrainer
    l2: float  # when the base model advances
    restart: str


def make_search(
    policy: Policy,
    make_lanes: Callable[[LogitGradFn], Lanes],
    space: Space,
    filter_: Filter,
    *,
    reference: str | None = None,
    samples: int,
    num_lanes: int,
    epochs: int = 1,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    l2: float,
    reward_scale: str,
    hall: int,
    seen_losses: int,
    restart: str,
    parsimony: float = 0.0,
    sharding: Sharding | None = None,
    task: Task = RATING,
) -> Search:
    """Builds a search.

    Args:
      policy: that writes losses; it needs ``warm_start`` where the space has initial losses.
      make_lanes: builds lanes of the recommender for the losses' logit gradients.
      space: that the policy writes in. Its initial losses are the first samples of the first
        generation, in place of what the policy wrote there.
      filter_: what decides which losses are trained.
      samples: losses that the policy writes in a generation, M.
      num_lanes: lanes, K, one of them the reference's.
      l2: penalty in the loss when the base model advances.
      hall: rows of the hall of fame, H.
      seen_losses: trained losses that are remembered, R.
      restart: when the base model gets new weights at the end of a round, in place of advancing:
        ``"always"``; ``"stalled"`` where the reference would make it worse, because losses that
        change nothing would earn the highest rewards from there; or ``"never"`` (the paper).
      parsimony: reward that a token costs in the order of the hall of fame.
      sharding: of states and results; None for the default device.
      task: of the same family as ``space``.
      reference, epochs, batch_size, learning_rate, weight_decay, reward_scale: see
        ``make_candidate_trainer``.

    Raises:
      ValueError: for values out of range.
    """
    _check_sizes(
        num_lanes,
        {"samples": samples, "batch_size": batch_size, "hall": hall, "seen_losses": seen_losses},
        num_initial=len(space.initial_losses),
    )
    if restart not in ("always", "stalled", "never"):
        raise ValueError(f"restart is 'always', 'stalled' or 'never', got {restart!r}")
    _check_rates(learning_rate, weight_decay, l2)
    if not parsimony >= 0:
        raise ValueError(
            "generation.parsimony is the reward that a token costs, at least 0 (0.0 for none), "
            f"got {parsimony}"
        )
    trainer = make_candidate_trainer(
        make_lanes,
        set(space.vocabulary.operators),
        task=task,
        reference=reference,
        length=space.length,
        bounds=space.bounds,
        num_lanes=num_lanes,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        reward_scale=reward_scale,
    )
    generations = Generations(
        policy=policy,
        space=space,
        filter=filter_,
        logit_grads=trainer.logit_grads,
        num_instructions=trainer.num_instructions,
        num_samples=samples,
        num_lanes=num_lanes,
        hall_rows=hall,
        seen_rows=seen_losses,
        group=task.group,
        exact_losses=task.traced_exact_losses(space.vocabulary.operators),
        parsimony=parsimony,
    )
    parts = _Parts(generations=generations, trainer=trainer, l2=l2, restart=restart)
    # One sharding for all states, or each function would compile again for what another one left.
    compiled = partial(jax.jit, out_shardings=sharding)
    return Search(
        init=compiled(partial(_init, parts)),
        run_generation=compiled(partial(_run_generation, parts)),
        advance=compiled(partial(_advance, parts)),
    )


def _check_sizes(num_lanes: int, sizes: dict[str, int], num_initial: int) -> None:
    """Checks that there is room for the reference, a candidate and all initial losses."""
    if num_lanes < 2:
        raise ValueError(
            f"generation.num_lanes is at least 2, one of them the reference's, got {num_lanes}"
        )
    if min(sizes.values()) < 1:
        named_sizes = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"a search needs at least 1 of {', '.join(sizes)}, got {named_sizes}")
    if num_initial > min(sizes["samples"], num_lanes - 1):
        raise ValueError(
            f"initial losses are trained in the first generation, which has {sizes['samples']} "
            f"samples and lanes for {num_lanes - 1} of them, got {num_initial} initial losses; "
            "name fewer, or raise generation.num_lanes or generation.samples"
        )


def _check_rates(learning_rate: float, weight_decay: float, l2: float) -> None:
    """Checks that a training step shrinks no parameter below zero."""
    # Written so that NaN is refused.
    if not (learning_rate > 0 and weight_decay >= 0 and l2 >= 0):
        raise ValueError(
            "generation.learning_rate is positive, generation.weight_decay and train.l2 not "
            f"negative, got {learning_rate}, {weight_decay} and {l2}"
        )
    if not learning_rate * (weight_decay + 2 * l2) < 1:
        raise ValueError(
            "generation.learning_rate times generation.weight_decay (and twice train.l2) stays "
            f"below 1, got {learning_rate}, {weight_decay} and {l2}"
        )


def with_subsampling(search: Search, interactions: int) -> Search:
    """Returns the search on a random part of the data, another one in each generation.

    Data may then be a stream. For pairwise losses the interactions are positives.

    Args:
      search: whose generations and advances train.
      interactions: to train on; 0 for all, of a stream too.

    Raises:
      ValueError: for a negative number.
    """
    if interactions < 0:
        raise ValueError(f"interactions to train on are at least 0 (all), got {interactions}")

    def on_subsample(function: Callable) -> Callable:
        def call(state: SearchState, key: Array, data: Data, reward_split: Batch) -> tuple:
            part = subsample(data, jax.random.fold_in(key, SUBSAMPLE), interactions)
            return function(state, key, part, reward_split)

        return call

    return search._replace(
        run_generation=on_subsample(search.run_generation), advance=on_subsample(search.advance)
    )


def _init(parts: _Parts, key: Array, reward_split: Batch) -> SearchState:
    """Returns the state of a search that has not begun."""
    policy_key, model_key = jax.random.split(key)
    base_model, base_reward = _init_base_model(parts, model_key, reward_split)
    return init_state(parts.generations, policy_key, base_model, base_reward)


def _init_base_model(parts: _Parts, key: Array, reward_split: Batch) -> tuple[LaneState, Array]:
    """Returns a base model with new weights, and its reward."""
    lanes = parts.trainer.lanes
    first = jnp.zeros(1, jnp.int32)
    # One lane for each device, as lanes are divided over them; all draw the same.
    base_model = lanes.take(lanes.init(jnp.repeat(key[None], lanes.devices)), first)
    copies = lanes.take(base_model, jnp.zeros(parts.generations.num_lanes, jnp.int32))
    return base_model, parts.trainer.evaluate(copies, reward_split)[0]


def _run_generation(
    parts: _Parts, state: SearchState, key: Array, data: Data, reward_split: Batch
) -> tuple[SearchState, GenerationResult]:
    """Runs one generation: proposes losses, trains them and the reference, and learns."""
    sample_key, train_key = jax.random.split(key)
    proposal = propose(parts.generations, state, sample_key)
    _, rewards = parts.trainer.train(
        train_key, state.base_model, proposal.programs, 0.0, data, reward_split
    )
    return learn(parts.generations, state, proposal, rewards)


def _advance(
    parts: _Parts, state: SearchState, key: Array, data: Data, reward_split: Batch
) -> tuple[SearchState, Array]:
    """Ends a round: the base model advances, or a new one takes its place."""
    generations = parts.generations
    if parts.restart == "always":
        base_model, base_reward = _init_base_model(parts, key, reward_split)
        state = state._replace(base_model=base_model, base_reward=base_reward)
        advanced = jnp.bool_(False)
    else:
        state, advanced = _train_base_model(parts, state, key, data, reward_split)
        if parts.restart == "stalled":
            state = _restart_if_stalled(parts, state, key, data, reward_split)
    return state._replace(
        policy=generations.policy.begin_round(state.policy, state.base_reward),
        seen_losses=generations.init_seen_losses()
        if generations.filter.forgets
        else state.seen_losses,
        round_best=generations.init_round_best(),
    ), advanced


def _train_base_model(
    parts: _Parts, state: SearchState, key: Array, data: Data, reward_split: Batch
) -> tuple[SearchState, Array]:
    """Trains the base model with the best loss of the round, unless that would hurt it.

    All losses of the round are trained again, on other batches, and the best one wins.
    """
    best = state.round_best
    tokens = jnp.concatenate([best.tokens[:1], best.tokens])  # lane 0 is the reference's
    trained, rewards = parts.trainer.train(
        key, state.base_model, parts.generations.assemble(tokens), parts.l2, data, reward_split
    )
    has_loss = jnp.append(False, jnp.isfinite(best.gain))
    winner = jnp.argmax(jnp.where(has_loss, rewards, -jnp.inf))
    # The slack lets a base model advance that only rounding made worse.
    advances = has_loss[winner] & (rewards[winner] >= state.base_reward - 1e-5)
    # Keep the best reward so far; otherwise the slack would let it drift downwards.
    base_reward = jnp.where(
        advances, jnp.maximum(rewards[winner], state.base_reward), state.base_reward
    )
    next_model = parts.trainer.lanes.take(trained, winner[None])
    return state._replace(
        base_model=where_lane(advances[None], next_model, state.base_model),
        base_reward=base_reward,
        num_advances=state.num_advances + advances,
    ), advances


def _restart_if_stalled(
    parts: _Parts, state: SearchState, key: Array, data: Data, reward_split: Batch
) -> SearchState:
    """Gives the base model new weights if the reference loss makes it worse."""
    generations = parts.generations
    train_key, weight_key = jax.random.split(jax.random.fold_in(key, RESTART))
    no_candidates = jnp.zeros((generations.num_lanes, generations.space.length), jnp.int32)
    _, rewards = parts.trainer.train(
        train_key, state.base_model, generations.assemble(no_candidates), 0.0, data, reward_split
    )
    stalled = rewards[0] < state.base_reward
    base_model, base_reward = _init_base_model(
        parts, _key_after(rewards[0], weight_key), reward_split
    )
    return state._replace(
        base_model=where_lane(stalled[None], base_model, state.base_model),
        base_reward=jnp.where(stalled, base_reward, state.base_reward),
        num_advances=jnp.where(stalled, 0, state.num_advances),
    )


def _key_after(reward: Array, key: Array) -> Array:
    """Returns the key, but not before the reward is known: a barrier for XLA's scheduler.

    Without it XLA may draw the new lanes while the old ones still train, and hold the memory of
    both. ``jax.lax.optimization_barrier`` does not help, as XLA drops it on CPU. Rewards are at
    most 1, so the other key is never chosen, but XLA does not know that.
    """
    return jnp.where(reward > 1, jax.random.fold_in(key, NEVER_CHOSEN), key)
