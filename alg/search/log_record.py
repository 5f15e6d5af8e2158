"""The log record of a generation: what became of its losses, and the best so far."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..interfaces import Array
from ..language.families import Family
from ..language.inputs import as_program, as_template
from ..language.printing import to_text
from ..language.programs import Program
from .generation import GenerationResult, SearchState
from .screening import Verdict
from .space import Space


def get_token_names(space: Space, tokens: Array) -> tuple[str, ...]:
    """Returns the names of tokens [L] without padding."""
    return tuple(space.vocabulary.names[token] for token in np.asarray(tokens) if token)


def write_formula(space: Space, family: Family, tokens: Array) -> str:
    """Returns the formula of tokens [L], with names for free constants."""
    program, slots = as_template(get_token_names(space, tokens), family=family)
    return to_text(program, family=family, slots=slots)


def make_program(space: Space, family: Family, tokens: Array) -> Program:
    """Returns the program of tokens [L]."""
    return as_program(get_token_names(space, tokens), family=family)


def make_log_record(
    space: Space,
    family: Family,
    state: SearchState,
    result: GenerationResult,
    previous: Mapping[str, Any] | None,
    *,
    round_generations: int,
) -> dict[str, Any]:
    """Returns the log record of a generation, as a line of ``metrics.jsonl`` has it.

    Args:
      space: of the search.
      family: of its losses.
      state: after the generation.
      result: of the generation.
      previous: record of the generation before, for the totals; None for the first.
      round_generations: generations of a round.

    Returns:
      Rewards are from 0 to 1; what does not exist, such as the best of no losses, is None.
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
        "best_reward": None if best is None else float(state.hall.reward[0]),
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
