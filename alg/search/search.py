"""The search: generations of candidates, and the recommender that moves on between them.

A generation is one jitted function: sample, screen, train the survivors in lanes, reward, update.
The loop over generations is the caller's, so that a run can be watched, stopped and resumed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from ..interfaces import Array, Batch, Data
from ..language.programs import Program, assemble
from ..training.chunks import subsample
from ..training.lanes import Lanes, LaneState, where_lane
from ..training.loss_gradients import LogitGradFn, LossBatch, pad_programs
from ..training.tasks import RATING, Task
from .candidates import CandidateTrainer, make_candidate_trainer
from .dedup import select_to_train
from .hall_of_fame import (
    HallOfFame,
    SeenLosses,
    admit,
    init_hall,
    init_seen_losses,
    remember,
)
from .screening import Filter, ProbePoints, Verdict, even_probe, is_blind
from .space import Space


class SearchState(NamedTuple):
    """All that a search needs to go on."""

    policy: Any
    # Where candidates begin, S lanes: the one that moves on; fresh weights; one half as trained.
    recommenders: LaneState
    moves: Array  # int32 [], of the first since it was fresh
    standing: Array  # float32 [], its reward
    memory: SeenLosses
    hall: HallOfFame  # of the whole run
    round_best: HallOfFame  # of this round, C - 1 rows
    generation: Array  # int32 []


class GenerationResult(NamedTuple):
    """What one generation did."""

    verdicts: Array  # int32 [M]
    rewards: Array  # float32 [C], means over the starts; the first is of the reference loss
    trained: Array  # bool [C]
    policy: Any  # numbers to log


class Search(NamedTuple):
    """A search as pure functions over its state."""

    init: Callable[[Array, Batch], SearchState]  # key, reward split
    generation: Callable[
        ..., tuple[SearchState, GenerationResult]
    ]  # state, key, train, reward split
    advance: Callable[..., tuple[SearchState, Array]]  # the same; says if the recommender moved


class _Parts(NamedTuple):
    """What the functions of a search close over."""

    policy: Any
    trials: CandidateTrainer
    space: Space
    filter: Filter
    samples: int  # M
    width: int  # K
    starts: int  # S
    l2: float
    hall: int  # H
    memory: int
    restart: str
    group: int  # examples that a loss takes together

    @property
    def probes(self) -> int:
        """The number of probe points, P."""
        return len(self.filter.probe.label)

    @property
    def candidates(self) -> int:
        """The number of losses that are trained at once, the reference among them, C."""
        return self.width // self.starts

    def programs(self, tokens: Array) -> Program:
        """Assemble token sequences [M, L] into programs [M, I]."""
        programs = jax.vmap(partial(assemble, vocab=self.space.vocabulary))(tokens)
        return pad_programs(programs, self.trials.slots)

    def no_round(self) -> HallOfFame:
        """Give the best of a round that has not begun."""
        return init_hall(self.candidates - 1, self.space.length, self.probes)


def make_search(
    policy: Any,
    make_lanes: Callable[[LogitGradFn], Lanes],
    where: Space,
    filter_: Filter,
    *,
    reference: str | None,
    samples: int,
    width: int,
    starts: int = 1,
    epochs: int = 1,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    l2: float,
    reward_scale: str,
    hall: int,
    memory: int,
    restart: str,
    sharding: Sharding | None = None,
    task: Task = RATING,
) -> Search:
    """Make a search.

    Args:
      policy: ``init``, ``sample``, ``update``, ``begin_round`` and, where the space has seeds,
        ``warm_start``; see the ``controller`` folder.
      make_lanes: gives lanes of the recommender for the losses' slopes.
      where: the space that the policy writes in. Its seeds are the first samples of the first
        generation, in place of what the policy wrote there.
      filter_: decides what is trained.
      samples: sequences of a generation, M.
      width: lanes, K, a multiple of ``starts``.
      starts: recommenders that each candidate is trained from, S, so that C = K / S losses are
        trained at once, one of them the reference; a reward is the mean. 1 for the recommender that
        moves on; 2 for one with fresh weights, too, anew in every round; 3 for one half as trained,
        too, which moves on every second time.
      l2: penalty in the loss when the recommender moves on.
      hall: rows of the hall of fame, H.
      memory: fingerprints remembered.
      restart: when the recommender gets fresh weights at a round's end, in place of moving on:
        ``"always"``; ``"stalled"`` where the reference would make it worse, for there, losses that
        change nothing would earn the highest rewards; or ``"never"`` (the paper).
      sharding: of the state and the reports; None for the default device.
      task: of the family of ``where``.
      reference, epochs, batch_size, learning_rate, weight_decay, reward_scale: see ``make_candidate_trainer``.

    Raises:
      ValueError: for values out of range.
    """
    if not 1 <= starts <= 3 or width % starts or width < 2 * starts:
        raise ValueError(
            "candidates begin at 1 to 3 starts (generation.starts), each with as many lanes of its "
            f"own, at least 2, got {starts} starts and {width} lanes (generation.width)"
        )
    if restart not in ("always", "stalled", "never"):
        raise ValueError(f"restart is 'always', 'stalled' or 'never', got {restart!r}")
    if samples < 1 or batch_size < 1 or hall < 1 or memory < 1:
        raise ValueError(
            "a search needs at least 1 of samples, batch_size, hall and memory, got "
            f"{samples}, {batch_size}, {hall} and {memory}"
        )
    if len(where.seeds) > min(samples, width // starts - 1):
        raise ValueError(
            f"seeds are trained in the first generation, which has {samples} samples and lanes for "
            f"{width // starts - 1} of them, got {len(where.seeds)} seeds; name fewer, or raise "
            "generation.width or generation.samples"
        )
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
    trials = make_candidate_trainer(
        make_lanes,
        set(where.vocabulary.operators),
        task=task,
        reference=reference,
        length=where.length,
        bounds=where.bounds,
        width=width,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        reward_scale=reward_scale,
    )
    sizes = samples, width, starts, l2, hall, memory
    parts = _Parts(policy, trials, where, filter_, *sizes, restart, task.group)
    # One sharding for all states, or each phase would compile again for what the last one left.
    compiled = partial(jax.jit, out_shardings=sharding)
    return Search(
        *(compiled(partial(function, parts)) for function in (_init, _generation, _advance))
    )


def with_subsampling(search: Search, interactions: int) -> Search:
    """Give a search that trains on so many interactions of the data at a time, drawn by the key.

    Data may then be a source. Of pairwise losses they are positives.

    Args:
      search: whose generations and moves train.
      interactions: to train on; 0 for all, of a source too.

    Raises:
      ValueError: for a negative number.
    """
    if interactions < 0:
        raise ValueError(f"interactions to train on are at least 0 (all), got {interactions}")

    def of_some(step: Callable) -> Callable:
        def call(state: SearchState, key: Array, data: Data, rewarded: Batch):
            return step(
                state, key, subsample(data, jax.random.fold_in(key, 2), interactions), rewarded
            )

        return call

    return search._replace(generation=of_some(search.generation), advance=of_some(search.advance))


def _untrained(parts: _Parts, key: Array, rewarded: Batch) -> tuple[LaneState, Array]:
    """Give recommenders with fresh weights, S lanes, and the reward of the first."""
    lanes, starts = parts.trials.lanes, parts.starts
    # As many lanes as are divided over the devices.
    keys = jnp.repeat(key[None], starts + -starts % lanes.devices)
    if starts > 1:
        keys = jax.vmap(jax.random.fold_in)(keys, jnp.arange(len(keys)))
    drawn = lanes.take(lanes.init(keys), jnp.arange(starts))
    first = lanes.take(drawn, jnp.zeros(parts.width, jnp.int32))
    return drawn, parts.trials.reward(first, rewarded)[0]


def _init(parts: _Parts, key: Array, rewarded: Batch) -> SearchState:
    policy_key, lane_key = jax.random.split(key)
    recommenders, standing = _untrained(parts, lane_key, rewarded)
    policy = parts.policy.init(policy_key)
    if len(parts.space.seeds):
        policy = parts.policy.warm_start(policy, jnp.asarray(parts.space.seeds))
    return SearchState(
        policy=parts.policy.begin_round(policy, standing),
        recommenders=recommenders,
        moves=jnp.int32(0),
        standing=standing,
        memory=init_seen_losses(parts.memory, parts.probes),
        hall=init_hall(parts.hall, parts.space.length, parts.probes),
        round_best=parts.no_round(),
        generation=jnp.int32(0),
    )


def _probe(parts: _Parts, programs: Program, probe: ProbePoints) -> Array:
    """Give the slopes [M, P] of candidates at probe points."""
    ones = jnp.ones(programs.op.shape[0])
    low, high = parts.space.bounds
    logits = jnp.broadcast_to(probe.logit, (len(ones), len(probe.logit)))
    losses = LossBatch(programs, low * ones, high * ones, ones)
    return parts.trials.slopes(losses, logits, jnp.asarray(probe.label))


def _blind(parts: _Parts, programs: Program) -> Array:
    """Say which candidates [C] move likes and dislikes alike: no losses to keep."""
    return is_blind(_probe(parts, programs, even_probe(32, parts.group)), parts.group)


def _write(parts: _Parts, state: SearchState, key: Array) -> Array:
    """Give the token sequences [M, L] of a generation; the first one begins with the seeds."""
    tokens = parts.policy.sample(state.policy, key, parts.samples)
    count = len(parts.space.seeds)
    if not count:
        return tokens
    first = jnp.where(state.generation == 0, parts.space.seeds, tokens[:count])
    return tokens.at[:count].set(first)


def _generation(
    parts: _Parts, state: SearchState, key: Array, data: Data, rewarded: Batch
) -> tuple[SearchState, GenerationResult]:
    sample_key, batch_key = jax.random.split(key)
    tokens = _write(parts, state, sample_key)
    programs = parts.programs(tokens)
    slopes = _probe(parts, programs, parts.filter.probe)
    screening, prints = parts.filter.screen(slopes), parts.filter.fingerprint(slopes)
    chosen = select_to_train(
        parts.filter, state.memory, screening.verdict, prints, parts.candidates
    )
    mine = jax.tree.map(lambda part: part[chosen.candidate], programs)
    _, rewards = parts.trials.run(batch_key, state.recommenders, mine, 0.0, data, rewarded)
    rewards = rewards.mean(0)

    of_lane = jnp.where(chosen.lane > 0, rewards[chosen.lane], jnp.nan)
    reward = jnp.where(jnp.isnan(chosen.gain), of_lane, chosen.gain + rewards[0])
    reward = jnp.where(chosen.verdict <= Verdict.WRONG_DIRECTION, screening.reward, reward)
    teaches = jnp.isfinite(reward)
    if not parts.filter.rewards_twins:
        teaches &= chosen.verdict != Verdict.TWIN
    weight = teaches.astype(jnp.float32)
    told = tokens, jnp.nan_to_num(reward), weight, rewards[0]
    policy, log = parts.policy.update(state.policy, *told)

    gain = jnp.where(chosen.trained, rewards - rewards[0], -jnp.inf)
    their_prints = prints[chosen.candidate]
    kept = gain if parts.filter.stops_blind else jnp.where(_blind(parts, mine), -jnp.inf, gain)
    generation = state.generation + 1
    born = jnp.full(parts.candidates, generation)
    new = HallOfFame(tokens[chosen.candidate], their_prints, kept, rewards, born)
    tolerance = parts.filter.tolerance
    return state._replace(
        policy=policy,
        memory=remember(state.memory, their_prints, gain, chosen.trained),
        hall=admit(state.hall, new, tolerance=tolerance),
        round_best=admit(state.round_best, new, tolerance=tolerance),
        generation=generation,
    ), GenerationResult(chosen.verdict, rewards, chosen.trained, log)


def _advance(
    parts: _Parts, state: SearchState, key: Array, data: Data, rewarded: Batch
) -> tuple[SearchState, Array]:
    """End a round: the recommender moves on, or a fresh one takes its place."""
    if parts.restart == "always":
        recommenders, standing = _untrained(parts, key, rewarded)
        state = state._replace(recommenders=recommenders, standing=standing)
        moves = jnp.bool_(False)
    else:
        state, moves = _move_on(parts, state, key, data, rewarded)
        state = _freshened(parts, state, key, data, rewarded)
    nothing = init_seen_losses(parts.memory, parts.probes)
    return state._replace(
        policy=parts.policy.begin_round(state.policy, state.standing),
        memory=nothing if parts.filter.forgets else state.memory,
        round_best=parts.no_round(),
    ), moves


def _move_on(
    parts: _Parts, state: SearchState, key: Array, data: Data, rewarded: Batch
) -> tuple[SearchState, Array]:
    """Train the recommender with the best loss of the round, if that does not hurt it."""
    best = state.round_best
    tokens = jnp.concatenate([best.tokens[:1], best.tokens])  # the first gives way
    trained, rewards = parts.trials.run(
        key, state.recommenders, parts.programs(tokens), parts.l2, data, rewarded
    )
    there = jnp.append(False, jnp.isfinite(best.gain))
    winner = jnp.argmax(jnp.where(there, rewards[0], -jnp.inf))
    moves = there[winner] & (rewards[0, winner] >= state.standing - 1e-5)
    # The best so far, or steps that are worse by a hair would add up.
    standing = jnp.where(moves, jnp.maximum(rewards[0, winner], state.standing), state.standing)
    of_winner = parts.candidates * jnp.arange(parts.starts) + winner
    candidates = parts.trials.lanes.take(trained, of_winner)
    # Every second time the half trained one, which is the third, moves on, too.
    moving = moves & jnp.asarray([True, False, state.moves % 2 == 1])[: parts.starts]
    recommenders = where_lane(moving, candidates, state.recommenders)
    moved = state._replace(recommenders=recommenders, standing=standing, moves=state.moves + moves)
    return moved, moves


def _freshened(
    parts: _Parts, state: SearchState, key: Array, data: Data, rewarded: Batch
) -> SearchState:
    """Give fresh weights to what begins with them, and to all that the reference makes worse."""
    if parts.restart == "never" and parts.starts == 1:
        return state
    trial_key, weight_key = jax.random.split(jax.random.fold_in(key, 1))
    known, finished = state.standing, jnp.bool_(False)
    if parts.restart == "stalled":
        nothing = jnp.zeros((parts.candidates, parts.space.length), jnp.int32)
        _, ahead = parts.trials.run(
            trial_key, state.recommenders, parts.programs(nothing), 0.0, data, rewarded
        )
        known, finished = ahead[0, 0], ahead[0, 0] < state.standing
    fresh, beginning = _untrained(parts, _after(known, weight_key), rewarded)
    begins = finished | (jnp.arange(parts.starts) == 1)
    return state._replace(
        recommenders=where_lane(begins, fresh, state.recommenders),
        standing=jnp.where(finished, beginning, state.standing),
        moves=jnp.where(finished, 0, state.moves),
    )


def _after(reward: Array, key: Array) -> Array:
    """Give the key, but not before the reward is known, or XLA would hold more lanes at once.

    Rewards are 1 at most, but XLA does not know; it drops optimization barriers on CPU.
    """
    return jnp.where(reward > 1, jax.random.fold_in(key, 1), key)
