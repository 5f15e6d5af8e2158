"""Optimizers of lanes: SGD, and Adagrad with one accumulator for each row and lane.

A batch touches few rows of a table, and the same row several times: its gradient is the sum over
its occurrences. Rows are stored divided by a scale of the lane (``row = scale * stored``), on which
weight decay acts, so that it reaches all rows at each step exactly and touches none.

With what dense training by Optax each of them agrees, tests/alg/test_optimizers.py shows: with
every row in the gradient, ``g`` of the loss alone, penalty ``l2`` and decay ``w`` of parameters
``p``,

=========== ======================================================================
``sgd``     ``p -= rate * (clip(g + 2 * l2 * p) + w * p)``
``adagrad`` ``a += mean(clip(g)**2)``;
            ``p -= rate * (clip(g) / sqrt(a + eps) + (w + 2 * l2) * p)``
=========== ======================================================================

(``sgd`` as long as the penalty alone stays below the clip, which rows outside a batch do not see),
where the mean is over the ``D`` columns of a row of a table, and over nothing for the other
parameters. Adagrad divides by the size of gradients; its penalty is decoupled from that, as decay
is (Loshchilov and Hutter, 2019, arXiv:1711.05101), or a row outside a batch would have a gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..interfaces import Array, Params


class Hyper(NamedTuple):
    """What else lanes differ in, [K] each."""

    learning_rate: Array
    weight_decay: Array  # decoupled from the loss and from the clipping, as in PyTorch's SGD
    l2: Array  # times the sum of squares of all parameters, added to the loss (adagrad: see above)


class SparseGrad(NamedTuple):
    """What a batch says of one table: rows by their ids, the same ones any number of times.

    An id that is ``out_of_range_id`` is none, and what is added there is dropped.
    """

    ids: Array  # int32 [B]
    gradient: Array  # [B, D, K], of the rows as the recommender sees them
    before: Array  # [K], the scale at which they were looked up
    after: Array  # [K], the scale after this step's decay


class Optimizer(NamedTuple):
    """An optimizer as pure functions; what it remembers of tables it calls accumulators."""

    init_accumulator: Callable[
        [Array], Array | None
    ]  # stored [rows, D, K] -> [rows, K]; None for none
    # stored, accumulator, rows, hyper [K] -> stored, accumulator
    step_rows: Callable[[Array, Array | None, SparseGrad, Hyper], tuple[Array, Array | None]]
    # Of one lane: dense parameters -> memory; these, gradient, memory, hyper [] -> both anew.
    init_dense: Callable[[Params], Any]
    step_dense: Callable[[Params, Params, Any, Hyper], tuple[Params, Any]]
    scale_free: bool  # steps stay as large when gradients grow


def out_of_range_id(ids: Array) -> int:
    """Give an id that is out of range: dropped by a scatter."""
    return jnp.iinfo(ids.dtype).max


def _unique(ids: Array) -> tuple[Array, Array]:
    """Give for ids [B] the slot [B] of each, and the id [B] of each slot, unused ones last."""
    order = jnp.argsort(ids)
    ordered = ids[order]
    new = jnp.append(False, ordered[1:] != ordered[:-1])
    rank = jnp.cumsum(new)
    slot = jnp.zeros_like(ids).at[order].set(rank.astype(ids.dtype))
    return slot, jnp.full_like(ids, out_of_range_id(ids)).at[rank].set(ordered)


def _summed(rows: SparseGrad) -> tuple[Array, Array]:
    """Give each id once, [B], unused slots last, with the sum [B, D, K] over its occurrences."""
    slot, unique = _unique(rows.ids)
    return unique, jnp.zeros_like(rows.gradient).at[slot].add(rows.gradient)


def _clipping(clip: float | None) -> optax.GradientTransformation:
    if clip is None:
        return optax.identity()
    if not clip > 0:
        raise ValueError(f"clip is positive or None, got {clip}")
    return optax.clip(clip)


def _dense_step(chain: Callable[[Hyper], optax.GradientTransformation]) -> Callable:
    """Give the step of dense parameters by a chain of Optax's for a lane's settings."""

    def step(parameters: Params, gradient: Params, memory: Any, hyper: Hyper):
        updates, memory = chain(hyper).update(gradient, memory, parameters)
        return optax.apply_updates(parameters, updates), memory

    return step


def sgd(*, clip: float | None = None) -> Optimizer:
    """Make stochastic gradient descent, which remembers nothing.

    Args:
      clip: gradients of single parameters, the penalty's part included, are clipped to this size;
        None for none.

    Raises:
      ValueError: for a clip that is not positive.

    >>> sgd().init_accumulator(jnp.ones((5, 4, 3))) is None
    True
    """
    clipping = _clipping(clip)

    def step_rows(stored: Array, accumulator: None, rows: SparseGrad, hyper: Hyper):
        if clip is None:
            step = -hyper.learning_rate / rows.after * rows.gradient
            return stored.at[rows.ids].add(step), accumulator
        # The original clips the gradient of a parameter, that is the sum over a row's occurrences,
        # penalty included; what the penalty does to the row beyond clipping is in the scale.
        unique, total = _summed(rows)
        seen = rows.before * stored.at[unique].get(mode="fill", fill_value=0.0)
        penalty = 2 * hyper.l2 * seen
        step = jnp.clip(total + penalty, -clip, clip) - penalty
        step = -hyper.learning_rate / rows.after * step
        return stored.at[unique].add(step, mode="drop"), accumulator

    def chain(hyper: Hyper) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(2 * hyper.l2),
            clipping,
            optax.add_decayed_weights(hyper.weight_decay),
            optax.scale_by_learning_rate(hyper.learning_rate),
        )

    return Optimizer(
        lambda stored: None, step_rows, chain(Hyper(0, 0, 0)).init, _dense_step(chain), False
    )


def adagrad(
    *, clip: float | None = None, eps: float = 1e-20, initial_accumulator: float = 0.0
) -> Optimizer:
    """Make Adagrad (Duchi, Hazan and Singer, 2011, jmlr.org/papers/v12/duchi11a.html), by rows.

    A row of a table has one accumulator, of the mean square of its gradient, as in FBGEMM's and
    TorchRec's row-wise Adagrad (github.com/pytorch/FBGEMM): ``D`` times less memory than one for
    each number. Other parameters have one each, as in Optax.

    A learning rate is then how far a row moves in its first step (root mean square), whatever the
    loss is multiplied by, as long as ``eps`` is small beside squared gradients and
    ``initial_accumulator`` is 0. Rows move less the more they have moved.

    Args:
      clip: as in ``sgd``, but of the gradient without the penalty.
      eps: added to an accumulator under its root.
      initial_accumulator: what accumulators start from.

    Raises:
      ValueError: for a clip or eps that is not positive, or accumulators that start below 0.

    >>> adagrad().init_accumulator(jnp.ones((5, 4, 3))).shape
    (5, 3)
    """
    clipping = _clipping(clip)
    if not (eps > 0 and initial_accumulator >= 0):
        raise ValueError(
            "adagrad needs eps above 0 and initial_accumulator of at least 0, got "
            f"{eps} and {initial_accumulator}"
        )

    def accumulator(stored: Array) -> Array:
        return jnp.full_like(stored[:, 0], initial_accumulator)

    def step_rows(stored: Array, accumulator: Array, rows: SparseGrad, hyper: Hyper):
        unique, total = _summed(rows)
        if clip is not None:
            total = jnp.clip(total, -clip, clip)
        square = jnp.mean(total**2, axis=1)
        accumulator = accumulator.at[unique].add(square, mode="drop")
        found = accumulator.at[unique].get(mode="fill", fill_value=0.0)
        inverse = jnp.where(found > 0, jax.lax.rsqrt(found + eps), 0.0)
        step = -(hyper.learning_rate / rows.after * inverse)[:, None] * total
        return stored.at[unique].add(step, mode="drop"), accumulator

    def chain(hyper: Hyper) -> optax.GradientTransformation:
        return optax.chain(
            clipping,
            optax.scale_by_rss(initial_accumulator, eps),
            optax.add_decayed_weights(hyper.weight_decay + 2 * hyper.l2),
            optax.scale_by_learning_rate(hyper.learning_rate),
        )

    return Optimizer(accumulator, step_rows, chain(Hyper(0, 0, 0)).init, _dense_step(chain), True)


SGD = sgd()

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adagrad": adagrad}
