"""The log record of a generation: what became of its losses, and the best so far."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..interfaces import Array, Bounds
from ..language.families import Family
from ..language.inputs import as_program, as_template
from ..language.printing import to_text
from ..language.programs import Program
from ..language.simplify import simplify
from .generation import GenerationResult, SearchState
from .hall_of_fame import compute_scores
from .screening import Verdict
from .space import Space


def get_token_names(space: Space, tokens: Array) -> tuple[str, ...]:
    """Returns the names of tokens [L] without padding."""
    return tuple(space.vocabulary.names[token] for token in np.asarray(tokens) if token)


def write_formula(space: Space, family: Family, tokens: Array) -> str:
    """Returns the formula of tokens [L]: simplified for labels 0 and 1, or with free constants."""
    program, slots = as_template(get_token_names(space, tokens), family=family)
    if not slots:  # a number that is free is not to be folded
        program = simplify_tokens(space, family, tokens)
    return to_text(program, family=family, slots=slots)


def make_program(space: Space, family: Family, tokens: Array) -> Program:
    """Returns the program of tokens [L]."""
    return as_program(get_token_names(space, tokens), family=family)


def simplify_tokens(space: Space, family: Family, tokens: Array) -> Program:
    """Returns the program of tokens [L] as it is shown, for labels 0 and 1."""
    return _simplify_names(get_token_names(space, tokens), family, space.bounds)


@lru_cache(maxsize=1024)
def _simplify_names(names: tuple[str, ...], family: Family, bounds: Bounds) -> Program:
    return simplify(
        as_program(names, family=family), bounds=bounds, family=family, binary_labels=True
    )


def make_log_record(
    space: Space,
    family: Family,
    state: SearchState,
    result: GenerationResult,
    previous: Mapping[str, Any] | None,
    *,
    round_generations: int,
    parsimony: float = 0.0,
) -> dict[str, Any]:
    """Returns the log record of a generation, as a line of ``metrics.jsonl`` has it.

    Args:
      space: of the search.
      family: of its losses.
      state: after the generation.
      result: of the generation.
      previous: record of the generation before, for the totals; None for the first.
      round_generations: generations of a round.
      parsimony: reward that a token costs in the order of the hall of fame.

    Returns:
      Rewards are from 0 to 1; what does not exist, such as the best of no losses, is None.
      ``best_score``, ``best_gain`` and ``best_formula`` are of the first loss of the hall of fame,
      ``best_reward`` is the highest of all so far; neither score nor reward ever falls.
    """
    counts = Counter(np.asarray(result.verdicts).tolist())
    rewards = np.asarray(result.rewards)
    candidate_rewards = rewards[np.asarray(result.trained)]
    num_sampled, num_trained = len(result.verdicts), len(candidate_rewards)
    totals = previous or {"sampled_total": 0, "trained_total": 0}
    best = state.hall.tokens[0] if np.isfinite(state.hall.gain[0]) else None
    generation = int(state.generation)
    return {
        "generation": generation,
        "round": (generation - 1) // round_generations + 1,
        "sampled": num_sampled,
        "trained": num_trained,
        "sampled_total": totals["sampled_total"] + num_sampled,
        "trained_total": totals["trained_total"] + num_trained,
        "best_reward": _find_best_reward(state, previous),
        "best_score": None if best is None else float(compute_scores(state.hall, parsimony)[0]),
        "best_gain": None if best is None else float(state.hall.gain[0]),
        "best_formula": None if best is None else write_formula(space, family, best),
        "generation_best": float(candidate_rewards.max()) if num_trained else None,
        "generation_mean": float(candidate_rewards.mean()) if num_trained else None,
        "reference_reward": float(rewards[0]),
        "start_reward": float(state.base_reward),
        "funnel": {
            **{verdict.name.lower(): counts[verdict.value] for verdict in Verdict},
            "below_baseline": int((candidate_rewards < rewards[0]).sum()),  # below the reference
        },
        **{name: float(value) for name, value in result.policy_log.items()},
    }


def _find_best_reward(state: SearchState, previous: Mapping[str, Any] | None) -> float | None:
    """Returns the highest reward of a loss in the hall of fame so far."""
    rewards = np.asarray(state.hall.reward)[np.isfinite(state.hall.gain)].tolist()
    earlier = previous and previous.get("best_reward")
    return max([*rewards, *([] if earlier is None else [earlier])], default=None)
