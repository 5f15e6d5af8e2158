"""A generation of a search: losses that a policy writes, and what it learns from their rewards.

What lies between, the training of the losses that pass, is the caller's: all at once as traced data
(``search.py``), or each compiled by itself (``ranking/search.py``).
"""

from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from ..interfaces import Array, Bounds, Policy
from ..language.programs import Program, assemble
from ..training.loss_gradients import ExactLossFn, LogitGradFn, LossBatch, pad_programs
from .dedup import Selection, select_to_train
from .hall_of_fame import (
    HallOfFame,
    SeenLosses,
    admit,
    init_hall,
    init_seen_losses,
    keep_shortest,
    remember,
)
from .screening import (
    Filter,
    ProbePoints,
    Screening,
    Verdict,
    is_label_blind,
    is_protected,
    make_probes,
    reject_protected,
)
from .space import Space


class SearchState(NamedTuple):
    """All that a search needs to go on."""

    policy: Any  # state of the policy
    base_model: Any  # a lane, where all candidates start; () where each starts afresh
    num_advances: Array  # int32 [], trainings of the base model since its weights were drawn
    base_reward: Array  # float32 [], reward of the base model
    seen_losses: SeenLosses
    hall: HallOfFame  # of the whole search
    round_best: HallOfFame  # of this round, K - 1 rows
    generation: Array  # int32 []


class GenerationResult(NamedTuple):
    """What became of the losses of one generation."""

    verdicts: Array  # int32 [M]
    rewards: Array  # float32 [K]; the first is the reference's
    trained: Array  # bool [K]
    policy_log: Any  # numbers of the policy, to log


class Proposal(NamedTuple):
    """Losses that a policy wrote, and those of them that are to be trained."""

    tokens: Array  # int32 [M, L]
    screening: Screening  # of all
    selection: Selection
    programs: Program  # [K, I], of the lanes
    fingerprints: Array  # [K, P], of the lanes
    all_fingerprints: Array  # [M, P]


class Generations(NamedTuple):
    """What all generations of a search share."""

    policy: Policy
    space: Space
    filter: Filter
    logit_grads: LogitGradFn  # of the losses of the space
    num_instructions: int  # of every program, I
    num_samples: int  # M
    num_lanes: int  # K
    hall_rows: int  # H
    seen_rows: int  # R
    group: int  # examples of a group, G
    exact_losses: ExactLossFn  # of the losses of the space, without protection
    parsimony: float = 0.0  # reward that a token costs, in the order of the hall of fame

    @property
    def num_probes(self) -> int:
        """Probe points, P."""
        return len(self.filter.probe.label)

    def assemble(self, tokens: Array) -> Program:
        """Returns the programs [M, I] of token sequences [M, L]."""
        programs = jax.vmap(partial(assemble, vocab=self.space.vocabulary))(tokens)
        return pad_programs(programs, self.num_instructions)

    def init_round_best(self) -> HallOfFame:
        """Returns the best of a round that has not begun."""
        return init_hall(self.num_lanes - 1, self.space.length, self.num_probes)

    def init_seen_losses(self) -> SeenLosses:
        """Returns the losses seen before a search, or by a filter that forgets them."""
        return init_seen_losses(self.seen_rows, self.num_probes)


def init_state(
    generations: Generations, key: Array, base_model: Any, base_reward: Array
) -> SearchState:
    """Returns the state of a search that has not begun.

    Args:
      generations: of the search.
      key: of the policy.
      base_model: where all candidates start.
      base_reward: its reward.
    """
    policy, space = generations.policy.init(key), generations.space
    if len(space.initial_losses):
        policy = generations.policy.warm_start(policy, jnp.asarray(space.initial_losses))
    return SearchState(
        policy=generations.policy.begin_round(policy, base_reward),
        base_model=base_model,
        num_advances=jnp.int32(0),
        base_reward=base_reward,
        seen_losses=generations.init_seen_losses(),
        hall=init_hall(generations.hall_rows, space.length, generations.num_probes),
        round_best=generations.init_round_best(),
        generation=jnp.int32(0),
    )


def propose(generations: Generations, state: SearchState, key: Array) -> Proposal:
    """Samples losses, screens them and drops twins."""
    tokens = _sample(generations, state, key)
    programs = generations.assemble(tokens)
    screening, fingerprints = _screen(generations, programs)
    selection = select_to_train(
        generations.filter,
        state.seen_losses,
        screening.verdict,
        fingerprints,
        generations.num_lanes,
    )
    return Proposal(
        tokens=tokens,
        screening=screening,
        selection=selection,
        programs=jax.tree.map(lambda part: part[selection.sample], programs),
        fingerprints=fingerprints[selection.sample],
        all_fingerprints=fingerprints,
    )


def learn(
    generations: Generations, state: SearchState, proposal: Proposal, rewards: Array
) -> tuple[SearchState, GenerationResult]:
    """Rewards the policy, and records what was trained.

    Args:
      generations: of the search.
      state: of the search.
      proposal: what was trained, and what was not.
      rewards: of the lanes [K]; the first is the reference's.
    """
    tokens, selection = proposal.tokens, proposal.selection
    reward, weight = rewards_for_policy(
        selection,
        proposal.screening,
        rewards,
        rewards_twins=generations.filter.rewards_twins,
    )
    policy, policy_log = generations.policy.update(state.policy, tokens, reward, weight, rewards[0])
    state = _record(
        generations,
        state._replace(policy=policy, generation=state.generation + 1),
        tokens=tokens[selection.sample],
        programs=proposal.programs,
        fingerprints=proposal.fingerprints,
        rewards=rewards,
        trained=selection.trained,
    )
    if generations.parsimony:
        hall = keep_shortest(
            state.hall,
            tokens,
            proposal.all_fingerprints,
            proposal.screening.verdict == Verdict.TRAINED,
            tolerance=generations.filter.tolerance,
            parsimony=generations.parsimony,
        )
        state = state._replace(hall=hall)
    return state, GenerationResult(
        verdicts=selection.verdict,
        rewards=rewards,
        trained=selection.trained,
        policy_log=policy_log,
    )


def _sample(generations: Generations, state: SearchState, key: Array) -> Array:
    """Returns the losses of a generation [M, L]; the first one begins with the initial losses."""
    tokens = generations.policy.sample(state.policy, key, generations.num_samples)
    chex.assert_shape(tokens, (generations.num_samples, generations.space.length))
    count = len(generations.space.initial_losses)
    if not count:
        return tokens
    first = jnp.where(state.generation == 0, generations.space.initial_losses, tokens[:count])
    return tokens.at[:count].set(first)


def _screen(generations: Generations, programs: Program) -> tuple[Screening, Array]:
    """Returns the verdicts of programs [M, I] before any training, and fingerprints [M, P]."""
    filter_ = generations.filter
    logit_grads = _logit_grads_at(generations, programs, filter_.probe)
    screening = filter_.screen(logit_grads)
    if filter_.protection:
        logits = jnp.broadcast_to(filter_.probe.logit, logit_grads.shape)
        exact = generations.exact_losses(programs, logits, jnp.asarray(filter_.probe.label))
        protected = is_protected(logit_grads, *exact, tolerance=filter_.protection)
        screening = reject_protected(screening, protected)
    return screening, filter_.fingerprint(logit_grads)


def compute_logit_grads_at(
    logit_grads: LogitGradFn, programs: Program, bounds: Bounds, probe: ProbePoints
) -> Array:
    """Computes the logit gradients [M, P] of programs [M, I] at probe points."""
    ones = jnp.ones(programs.op.shape[0])
    low, high = bounds
    logits = jnp.broadcast_to(probe.logit, (len(ones), len(probe.logit)))
    losses = LossBatch(program=programs, low=low * ones, high=high * ones, scale=ones)
    return logit_grads(losses, logits, jnp.asarray(probe.label))


def _logit_grads_at(generations: Generations, programs: Program, probe: ProbePoints) -> Array:
    bounds = generations.space.bounds
    return compute_logit_grads_at(generations.logit_grads, programs, bounds, probe)


def rewards_for_policy(
    selection: Selection, screening: Screening, rewards: Array, *, rewards_twins: bool
) -> tuple[Array, Array]:
    """Returns what the policy learns about each sample: a reward [M] and its weight [M].

    ================================ ========================================== ==================
    sample                           reward                                     weight
    ================================ ========================================== ==================
    rejected in screening            of the screening, below 0                  1
    twin of a seen loss              gain of that loss + reference's reward now ``rewards_twins``
    twin of an earlier sample        reward of that sample's lane               ``rewards_twins``
    trained                          reward of its lane                         1
    no lane left, or twin of such    unknown                                    0
    ================================ ========================================== ==================

    Rewards of trained losses are from 0 to 1, so every rejected sample earns less than any trained
    one. An unknown reward is 0, which its weight makes harmless.

    Args:
      selection: which samples [M] were trained in which lanes, and twins.
      screening: verdicts and rewards [M] before training.
      rewards: of the lanes [K]; the first is the reference's.
      rewards_twins: whether the policy learns from twins.
    """
    chex.assert_equal_shape([selection.verdict, screening.reward])
    chex.assert_equal_shape([rewards, selection.trained])
    lane_reward = jnp.where(selection.lane > 0, rewards[selection.lane], jnp.nan)
    is_seen = selection.seen_gain > -jnp.inf
    reward = jnp.where(is_seen, selection.seen_gain + rewards[0], lane_reward)
    rejected = selection.verdict <= Verdict.PROTECTED
    reward = jnp.where(rejected, screening.reward, reward)
    teaches = jnp.isfinite(reward)
    if not rewards_twins:
        teaches &= selection.verdict != Verdict.TWIN
    return jnp.nan_to_num(reward), teaches.astype(jnp.float32)


def _record(
    generations: Generations,
    state: SearchState,
    *,
    tokens: Array,
    programs: Program,
    fingerprints: Array,
    rewards: Array,
    trained: Array,
) -> SearchState:
    """Writes the losses of all lanes that were trained into hall of fame and seen losses.

    Args:
      generations: of the search.
      state: of the search, the number of this generation included.
      tokens: of the lanes [K, L].
      programs: of the lanes [K, I].
      fingerprints: of the lanes [K, P].
      rewards: of the lanes [K].
      trained: bool [K], lanes with a candidate.
    """
    tolerance = generations.filter.tolerance
    gain = jnp.where(trained, rewards - rewards[0], -jnp.inf)
    hall_gain = gain
    if not generations.filter.rejects_label_blind:
        # Such losses are trained, but nobody would use them.
        probe = make_probes(32, generations.group)
        blind = is_label_blind(_logit_grads_at(generations, programs, probe), generations.group)
        hall_gain = jnp.where(blind, -jnp.inf, gain)
    new = HallOfFame(
        tokens=tokens,
        fingerprints=fingerprints,
        gain=hall_gain,
        reward=rewards,
        generation=jnp.full(generations.num_lanes, state.generation),
    )
    return state._replace(
        seen_losses=remember(state.seen_losses, fingerprints, gain, trained),
        hall=admit(state.hall, new, tolerance=tolerance, parsimony=generations.parsimony),
        round_best=admit(state.round_best, new, tolerance=tolerance),
    )
