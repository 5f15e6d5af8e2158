"""The search: generations of candidates, and the recommender that moves on between them.

A generation is one jitted function: sample, screen, train the survivors in lanes, reward, update.
The loop over generations is the caller's, so that a run can be watched, stopped and resumed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Sharding

from .filters import Filter, Verdict, twins
from .hall_of_fame import HallOfFame, Memory, admit, empty_hall, empty_memory, remember
from .lanes import Hyper, Lanes, LaneState, batches
from .losses import as_program
from .metrics import auc
from .objectives import Objective, Slopes, extend, gradient_size, objective, traced_slopes
from .operators import SIGNED
from .programs import Program, Vocabulary, assemble, vocabulary
from .types import Array, Batch


class SearchState(NamedTuple):
    """All that a search needs to go on."""

    policy: Any
    recommender: LaneState  # one lane
    standing: Array  # float32 [], the recommender's reward
    memory: Memory
    hall: HallOfFame  # of the whole run
    round_best: HallOfFame  # of this round, K - 1 rows
    generation: Array  # int32 []
    stalled: Array  # int32 [], rounds since the recommender last moved


class Report(NamedTuple):
    """What one generation did."""

    verdicts: Array  # int32 [M]
    rewards: Array  # float32 [K], of the lanes; lane 0 trains the reference loss
    trained: Array  # bool [K]
    policy: Any  # numbers to log


class Search(NamedTuple):
    """A search as pure functions over its state."""

    init: Callable[[Array, Batch], SearchState]  # key, reward split
    generation: Callable[..., tuple[SearchState, Report]]  # state, key, train, reward split
    advance: Callable[..., tuple[SearchState, Array]]  # the same; says if the recommender moved


class Chosen(NamedTuple):
    """Which of M candidates are trained, in which lane, and whose twins the others are."""

    verdict: Array  # int32 [M]
    lane: Array  # int32 [M], lane of a candidate or of its match; 0 for none
    gain: Array  # float32 [M], what memory says; NaN for what it does not know
    candidate: Array  # int32 [K], candidate in a lane; lane 0 is the reference's
    trained: Array  # bool [K]


def _choose(filter_: Filter, memory: Memory, found: Array, prints: Array, lanes: int) -> Chosen:
    """Pick what is trained: the first K - 1 sound candidates without a twin."""
    count, width = found.shape[0], min(found.shape[0], 8 * lanes)
    sound = found == Verdict.TRAINED
    first = jnp.argsort(~sound, stable=True)[:width]  # the sound come first, in order
    waiting, theirs = sound[first], prints[first]
    close = partial(twins, theirs, tolerance=filter_.tolerance)
    known = close(memory.prints)
    earlier = jnp.tril(close(theirs), -1) & waiting[None, :]
    is_known, is_repeat = known.any(1), earlier.any(1)
    fresh = waiting & ~is_known & ~is_repeat
    lane = jnp.where(fresh, jnp.cumsum(fresh), 0)
    full = lane >= lanes
    lane = jnp.where(full, 0, lane)
    repeat_lane = lane[jnp.argmax(earlier, axis=1)]
    own = jnp.where(is_repeat & ~is_known, repeat_lane, lane)
    verdict = jnp.select(
        [~waiting, is_known | is_repeat, full],
        [found[first], Verdict.TWIN, Verdict.OVER_CAPACITY],
        Verdict.TRAINED,
    )
    target = jnp.where(fresh & ~full, lane, lanes)
    beyond = jnp.where(sound, Verdict.OVER_CAPACITY, found)  # sound, but past the first
    return Chosen(
        beyond.at[first].set(verdict).astype(jnp.int32),
        jnp.zeros(count, jnp.int32).at[first].set(own),
        jnp.full(count, jnp.nan)
        .at[first]
        .set(jnp.where(waiting & is_known, memory.gain[jnp.argmax(known, axis=1)], jnp.nan)),
        jnp.zeros(lanes, jnp.int32).at[target].set(first, mode="drop"),
        jnp.zeros(lanes, bool).at[target].set(True, mode="drop"),
    )


class Space(NamedTuple):
    """What losses a search may write."""

    vocabulary: Vocabulary
    length: int  # tokens of a loss at most, L
    bounds: tuple[float, float]  # intermediate results are clipped to them


def space(
    *, operators: Sequence[str], operands: Sequence[str], length: int, bounds: tuple[float, float]
) -> Space:
    """Give a search space of named operators and operands.

    Raises:
      ValueError: for unknown names, no tokens, or bounds that are out of order.
    """
    low, high = bounds
    if not low < high:
        raise ValueError(f"bounds are (low, high) with low < high, got {bounds}")
    if length < 1:
        raise ValueError(f"a loss needs at least one token, got length {length}")
    return Space(vocabulary(operators=operators, operands=operands), length, (low, high))


def make_search(
    policy: Any,
    make_lanes: Callable[[Slopes], Lanes],
    where: Space,
    filter_: Filter,
    *,
    reference: str,
    samples: int,
    width: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    l2: float,
    reward_scale: str,
    hall: int,
    memory: int,
    sharding: Sharding | None = None,
) -> Search:
    """Make a search.

    Args:
      policy: ``init``, ``sample``, ``update`` and ``begin_round``; see the ``controller`` folder.
      make_lanes: gives lanes of the recommender for the losses' slopes.
      where: the space that the policy writes in.
      filter_: decides what is trained.
      reference: formula of the loss of lane 0, beside which all others are seen.
      samples: sequences of a generation, M.
      width: lanes, K; one of them trains the reference.
      batch_size: interactions of a training step, B.
      learning_rate: of the reference, and of all where ``reward_scale`` is ``"raw"``.
      weight_decay: of all lanes.
      l2: penalty in the loss when the recommender moves on.
      reward_scale: ``"gradient"`` scales each loss so that its gradient on the recommender's
        predictions is as large as the reference's; ``"raw"`` leaves it (the paper).
      hall: rows of the hall of fame, H.
      memory: fingerprints remembered.
      sharding: of the state and the reports; None for the default device.

    Raises:
      ValueError: for values out of range.
    """
    if reward_scale not in ("gradient", "raw"):
        raise ValueError(f"reward_scale is 'gradient' or 'raw', got {reward_scale!r}")
    if width < 2 or samples < 1 or batch_size < 1 or hall < 1 or memory < 1:
        raise ValueError(
            "a search needs at least 2 lanes and 1 of samples, batch_size, hall and memory, got "
            f"{width}, {samples}, {batch_size}, {hall} and {memory}"
        )
    if not learning_rate * (weight_decay + 2 * l2) < 1:
        raise ValueError("learning_rate times weight decay must stay below 1")
    vocab, length, bounds = where
    beside = objective([as_program(reference)], [SIGNED])
    slopes = traced_slopes(sorted({*vocab.operators, *beside.program.op[0].tolist()}))
    lanes = make_lanes(slopes)
    slots = max(beside.program.op.shape[-1], length)
    probes = len(filter_.probe.label)
    probe_logit, probe_label = map(jnp.asarray, filter_.probe)

    def objectives(programs: Program) -> Objective:
        """Give the objective of K programs, the first replaced by the reference."""
        low, high = bounds
        ours = Objective(programs, jnp.full(width, low), jnp.full(width, high), jnp.ones(width))
        first = beside._replace(program=extend(beside.program, slots))
        return jax.tree.map(lambda mine, theirs: mine.at[0].set(theirs[0]), ours, first)

    def rescale(losses: Objective, start: LaneState, sample: Batch) -> Objective:
        if reward_scale == "raw":
            return losses
        logits = lanes.predict(lanes.spread(start, width), sample)
        size = gradient_size(slopes(losses, logits, sample.label.reshape(-1)))
        return losses._replace(scale=jnp.clip(size[0] / jnp.maximum(size, 1e-30), 1e-6, 1e6))

    def score(state: LaneState, rewarded: Batch) -> Array:
        """Give the reward [K]: AUC on the reward split."""
        cut = batches(rewarded, min(1024, rewarded.label.shape[0]))
        label, weight = cut.label.reshape(-1), cut.weight.reshape(-1)
        return jax.vmap(auc, in_axes=(0, None, None))(lanes.predict(state, cut), label, weight)

    def train(key, start, programs, penalty, data, rewarded):
        """Train K losses from one start on the same batches; give the lanes and their rewards."""
        cut = batches(data, batch_size, key)
        few = jax.tree.map(lambda x: x[: max(1, 1024 // batch_size)], cut)
        losses = rescale(objectives(programs), start, few)
        ones = jnp.ones(width)
        hyper = Hyper(learning_rate * ones, weight_decay * ones, penalty * ones)
        trained = lanes.train(lanes.spread(start, width), losses, hyper, cut)
        return trained, jnp.nan_to_num(score(trained, rewarded), nan=0.0)

    def programs_of(tokens: Array) -> Program:
        return extend(jax.vmap(partial(assemble, vocab=vocab))(tokens), slots)

    def init(key: Array, rewarded: Batch) -> SearchState:
        policy_key, lane_key = jax.random.split(key)
        first = lanes.init(jnp.repeat(lane_key[None], width))
        standing = score(first, rewarded)[0]
        return SearchState(
            policy.begin_round(policy.init(policy_key), standing),
            lanes.take(first, jnp.zeros(1, jnp.int32)),
            standing,
            empty_memory(memory, probes),
            empty_hall(hall, length, probes),
            empty_hall(width - 1, length, probes),
            jnp.int32(0),
            jnp.int32(0),
        )

    def generation(state, key, data, rewarded):
        sample_key, batch_key = jax.random.split(key)
        tokens = policy.sample(state.policy, sample_key, samples)
        programs = programs_of(tokens)
        ones = jnp.ones(samples)
        candidates = Objective(programs, bounds[0] * ones, bounds[1] * ones, ones)
        probed = slopes(candidates, jnp.broadcast_to(probe_logit, (samples, probes)), probe_label)
        screening = filter_.screen(probed)
        prints = filter_.fingerprint(probed)
        chosen = _choose(filter_, state.memory, screening.verdict, prints, width)
        mine = jax.tree.map(lambda part: part[chosen.candidate], programs)
        _, rewards = train(batch_key, state.recommender, mine, 0.0, data, rewarded)

        of_lane = jnp.where(chosen.lane > 0, rewards[chosen.lane], jnp.nan)
        reward = jnp.where(jnp.isnan(chosen.gain), of_lane, chosen.gain + rewards[0])
        reward = jnp.where(chosen.verdict <= Verdict.WRONG_DIRECTION, screening.reward, reward)
        teaches = jnp.isfinite(reward)
        if not filter_.rewards_twins:
            teaches &= chosen.verdict != Verdict.TWIN
        weight = teaches.astype(jnp.float32)
        policy_state, log = policy.update(state.policy, tokens, jnp.nan_to_num(reward), weight)

        lane_gain = jnp.where(chosen.trained, rewards - rewards[0], -jnp.inf)
        new = HallOfFame(
            tokens[chosen.candidate],
            prints[chosen.candidate],
            lane_gain,
            rewards,
            jnp.full(width, state.generation + 1),
        )
        return state._replace(
            policy=policy_state,
            memory=remember(state.memory, prints[chosen.candidate], lane_gain, chosen.trained),
            hall=admit(state.hall, new, tolerance=filter_.tolerance),
            round_best=admit(state.round_best, new, tolerance=filter_.tolerance),
            generation=state.generation + 1,
        ), Report(chosen.verdict, rewards, chosen.trained, log)

    def advance(state, key, data, rewarded):
        """Move the recommender on with the best loss of the round, if that does not hurt it."""
        best = state.round_best
        tokens = jnp.concatenate([best.tokens[:1], best.tokens])
        filled = jnp.append(False, jnp.isfinite(best.gain))
        trained, rewards = train(key, state.recommender, programs_of(tokens), l2, data, rewarded)
        rewards = jnp.where(filled, rewards, -jnp.inf)
        winner = jnp.argmax(rewards)
        better = rewards[winner] >= state.standing - 1e-5
        moved = lanes.take(trained, winner[None])
        recommender = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), moved, state.recommender
        )
        standing = jnp.where(better, rewards[winner], state.standing)
        memory_ = empty_memory(memory, probes) if filter_.forgets else state.memory
        return state._replace(
            policy=policy.begin_round(state.policy, standing),
            recommender=recommender,
            standing=standing,
            memory=memory_,
            round_best=empty_hall(width - 1, length, probes),
            stalled=jnp.where(better, 0, state.stalled + 1),
        ), better

    # One sharding for all states, or each phase would compile again for what the last one left.
    compiled = partial(jax.jit, out_shardings=sharding)
    return Search(compiled(init), compiled(generation), compiled(advance))
