"""The journal's entry of a generation: what became of the candidates, and the best so far."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..interfaces import Array
from ..language.families import Family
from ..language.inputs import as_program
from ..language.printing import to_text
from ..language.programs import Program
from .screening import Verdict
from .search import GenerationResult, SearchState
from .space import Space


def token_names(space: Space, tokens: Array) -> tuple[str, ...]:
    """Give the names of tokens [L] without padding."""
    return tuple(space.vocabulary.names[token] for token in np.asarray(tokens) if token)


def program_of_tokens(space: Space, family: Family, tokens: Array) -> Program:
    """Give the program of tokens [L]."""
    return as_program(token_names(space, tokens), family=family)


def make_log_record(
    space: Space,
    family: Family,
    state: SearchState,
    done: GenerationResult,
    last: Mapping[str, Any] | None,
    *,
    round_generations: int,
) -> dict[str, Any]:
    """Give the entry of the generation that led to ``state``; ``last`` is the one before, if any.

    Rewards are from 0 to 1. What there is none of is None.
    """
    counts = Counter(np.asarray(done.verdicts).tolist())
    rewards = np.asarray(done.rewards)
    trained = rewards[np.asarray(done.trained)]
    last = last or {"sampled_total": 0, "trained_total": 0}
    best = state.hall.tokens[0] if np.isfinite(state.hall.gain[0]) else None
    generation = int(state.generation)
    return {
        "generation": generation,
        "round": (generation - 1) // round_generations + 1,
        "sampled": len(done.verdicts),
        "trained": len(trained),
        "sampled_total": last["sampled_total"] + len(done.verdicts),
        "trained_total": last["trained_total"] + len(trained),
        "best_reward": None if best is None else float(state.hall.reward[0]),
        "best_gain": None if best is None else float(state.hall.gain[0]),
        "best_formula": None
        if best is None
        else to_text(program_of_tokens(space, family, best), family=family),
        "generation_best": float(trained.max()) if len(trained) else None,
        "generation_mean": float(trained.mean()) if len(trained) else None,
        "reference_reward": float(rewards[0]),
        "start_reward": float(state.standing),
        "funnel": {
            **{verdict.name.lower(): counts[verdict.value] for verdict in Verdict},
            "below_baseline": int((trained < rewards[0]).sum()),  # of the trained
        },
        **{name: float(value) for name, value in done.policy.items()},
    }
