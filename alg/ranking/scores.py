"""Scores of users and items: what is done to two embeddings before and after their product."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..interfaces import Array
from ..suggest import did_you_mean


class Score(NamedTuple):
    """A score of embeddings."""

    prepare: Callable[[Array], Array]  # embeddings [..., D] -> the same shape, before the product
    finish: Callable[[Array], Array]  # product -> score


def _keep(x: Array) -> Array:
    return x


def _to_unit_length(x: Array) -> Array:
    # The square root has no derivative at 0, where an embedding stays 0.
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


SCORES: dict[str, Score] = {
    "dot": Score(prepare=_keep, finish=_keep),
    "cosine": Score(prepare=_to_unit_length, finish=_keep),
    "half_cosine": Score(prepare=_to_unit_length, finish=lambda x: x / 2),
    "sigmoid": Score(prepare=_keep, finish=jax.nn.sigmoid),
}


def get_score(name: str) -> Score:
    """Returns the score of a name.

    Raises:
      ValueError: for an unknown name.

    Example:
      >>> score = get_score("half_cosine")
      >>> x, y = score.prepare(jnp.array([3.0, 4.0])), score.prepare(jnp.array([1.0, 0.0]))
      >>> round(float(score.finish(x @ y)), 6)
      0.3
    """
    if name not in SCORES:
        raise ValueError(
            f"score {name!r} is not one of {', '.join(SCORES)}{did_you_mean(str(name), SCORES)}"
        )
    return SCORES[name]
