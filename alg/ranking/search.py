"""The search for ranking losses: the generations of every search, around candidates that compile.

A candidate sees all items at each step, so what is compiled for its formula alone repays itself: it
takes a second or two and halves the time of a training.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interfaces import Array, Policy
from ..language.build import build_loss
from ..language.inputs import LossFn
from ..language.programs import assemble
from ..search.generation import (
    GenerationResult,
    Generations,
    SearchState,
    compute_logit_grads_at,
    init_state,
    learn,
    propose,
)
from ..search.log_record import get_token_names
from ..search.screening import Filter, make_graded_filter
from ..search.search import Search
from ..search.space import Space
from ..training.loss_gradients import traced_exact_losses, traced_logit_grads
from .candidates import TrainCandidates
from .trainer import EvalSplit, TrainingPairs

GROUP = 5
"""Examples of a group of probe points: a positive and four negatives."""

PROBE_SCALES = {"dot": 1.0, "cosine": 0.25, "half_cosine": 0.125, "sigmoid": 0.25}
"""What probe points are multiplied by, so that they lie where the scores do."""


class _Parts(NamedTuple):
    """What the functions of a search share."""

    generations: Generations
    train: TrainCandidates
    reference: LossFn
    propose: Any  # compiled
    learn: Any  # compiled


def make_rank_filter(score: str, *, tolerance: float, protection: float) -> Filter:
    """Builds the filter of ranking losses, at scores of the kind ``score``.

    Raises:
      ValueError: for values out of range.
    """
    filter_ = make_graded_filter(
        tolerance=tolerance,
        protection=protection,
        num_probes=64,
        # Constants are not tuned yet: a margin may leave most negatives alone, and the gradient
        # through a weight may hold some positives down. But each side must be pushed, on balance.
        min_direction=0.2,
        min_of_each=0.05,
        group=GROUP,
    )
    logit = np.float32(PROBE_SCALES[score]) * filter_.probe.logit
    return filter_._replace(probe=filter_.probe._replace(logit=logit))


def make_probe_thresholds(filter_: Filter) -> Array:
    """Returns the users' thresholds at the probe points [P / G], spread as the scores are."""
    positives = filter_.probe.logit.reshape(-1, GROUP)[:, 0]
    steps = np.arange(len(positives)) * 0.754878 % 1  # another irrational step than the scores'
    return jnp.asarray((2 * steps - 1) * np.abs(positives).max() / 2, jnp.float32)


def make_rank_search(
    policy: Policy,
    space: Space,
    filter_: Filter,
    train: TrainCandidates,
    reference: LossFn,
    *,
    samples: int,
    num_candidates: int,
    hall: int,
    seen_losses: int,
) -> Search:
    """Builds a search for ranking losses.

    Its functions take ``TrainingPairs`` for data, and the ``EvalSplit`` of validation to reward.
    All candidates begin afresh, so no base model advances.

    Args:
      policy: that writes losses.
      space: that it writes in, of the pairwise family.
      filter_: from ``make_rank_filter``.
      train: trains candidates.
      reference: loss that all others are compared with.
      samples: losses that the policy writes in a generation, M.
      num_candidates: losses that train in a generation.
      hall: rows of the hall of fame, H.
      seen_losses: trained losses that are remembered, R.

    Raises:
      ValueError: for values out of range.
    """
    sizes = {"samples": samples, "candidates": num_candidates, "hall": hall, "seen": seen_losses}
    if min(sizes.values()) < 1:
        raise ValueError(f"a search needs at least 1 of each of {sizes}")
    if (count := len(space.initial_losses)) > min(samples, num_candidates):
        raise ValueError(
            "initial losses are trained in the first generation, which trains "
            f"{min(samples, num_candidates)}, got {count}: raise generation.num_candidates, or "
            "name fewer in space.initial_losses"
        )
    operators, at_probes = space.vocabulary.operators, _describe_probes(space, filter_)
    generations = Generations(
        policy=policy,
        space=space,
        filter=filter_,
        logit_grads=traced_logit_grads(operators, **at_probes),
        num_instructions=space.length,
        num_samples=samples,
        num_lanes=num_candidates + 1,
        hall_rows=hall,
        seen_rows=seen_losses,
        group=GROUP,
        exact_losses=traced_exact_losses(operators, **at_probes),
    )
    parts = _Parts(
        generations=generations,
        train=train,
        reference=reference,
        propose=jax.jit(partial(propose, generations)),
        learn=jax.jit(partial(learn, generations)),
    )
    return Search(
        init=partial(_init, parts),
        run_generation=partial(_run_generation, parts),
        advance=partial(_advance, parts),
    )


def build_candidates(space: Space, tokens: Sequence[Array]) -> list[LossFn]:
    """Returns the losses of token sequences [L] of a space."""
    family = space.vocabulary.family
    return [
        build_loss(get_token_names(space, one), family=family, bounds=space.bounds)
        for one in tokens
    ]


def compute_fingerprints(space: Space, filter_: Filter, tokens: Array) -> Array:
    """Computes the fingerprints [M, P] of token sequences [M, L], as a search does."""
    programs = jax.vmap(partial(assemble, vocab=space.vocabulary))(tokens)
    logit_grads = traced_logit_grads(space.vocabulary.operators, **_describe_probes(space, filter_))
    return filter_.fingerprint(
        compute_logit_grads_at(logit_grads, programs, space.bounds, filter_.probe)
    )


def _describe_probes(space: Space, filter_: Filter) -> dict[str, Any]:
    """Returns what the traced gradients of a space take at the probe points of its filter."""
    thresholds = make_probe_thresholds(filter_)
    return {"group": GROUP, "table": space.vocabulary.table, "threshold": thresholds}


def _init(parts: _Parts, key: Array, valid: EvalSplit) -> SearchState:
    """Returns the state of a search that has not begun; its reference is not trained yet."""
    del valid
    return jax.jit(partial(init_state, parts.generations))(key, (), jnp.float32(0))


def _run_generation(
    parts: _Parts, state: SearchState, key: Array, data: TrainingPairs, valid: EvalSplit
) -> tuple[SearchState, GenerationResult]:
    """Runs one generation; the first also trains the reference, whose reward all others keep."""
    proposal = parts.propose(state, key)
    lanes = np.flatnonzero(proposal.selection.trained)
    tokens = np.asarray(proposal.tokens)[np.asarray(proposal.selection.sample)[lanes]]
    losses = build_candidates(parts.generations.space, tokens)
    is_first = int(state.generation) == 0
    results = parts.train([*losses, *[parts.reference] * is_first], data, valid)
    if is_first:
        state = state._replace(base_reward=jnp.float32(results[-1].reward))
    rewards = np.zeros(parts.generations.num_lanes, np.float32)
    rewards[0] = state.base_reward
    rewards[lanes] = [result.reward for result in results[: len(lanes)]]
    return parts.learn(state, proposal, jnp.asarray(rewards))


def _advance(
    parts: _Parts, state: SearchState, key: Array, data: TrainingPairs, valid: EvalSplit
) -> tuple[SearchState, Array]:
    """Ends a round, of which nothing but the policy takes note."""
    del key, data, valid
    generations = parts.generations
    return state._replace(
        policy=generations.policy.begin_round(state.policy, state.base_reward),
        round_best=generations.init_round_best(),
    ), jnp.bool_(False)
