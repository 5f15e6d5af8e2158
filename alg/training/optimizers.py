"""Optimizers of lanes: SGD, and Adagrad with one accumulator for each row and lane.

A batch touches few rows of a table, and the same row several times: its gradient is the sum over
its occurrences. Rows are stored divided by a scale of the lane (``row = scale * stored``), on which
weight decay acts, so that it reaches all rows at each step exactly and touches none.

Each agrees with dense training by Optax, in which every row has a gradient (see
tests/alg/training/test_optimizers.py). With the gradient ``g`` of the loss alone, penalty ``l2``
and decay ``w`` of parameters ``p``, a step is

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
import numpy as np
import optax

from ..interfaces import AnyArray, Array, Params


class Hyper(NamedTuple):
    """Hyper-parameters in which lanes differ, [K] each."""

    learning_rate: AnyArray
    weight_decay: AnyArray  # decoupled from the loss and from the clipping, as in PyTorch's SGD
    # Times the sum of squares of all parameters, added to the loss (adagrad: see above).
    l2: AnyArray


class SparseGrad(NamedTuple):
    """Gradient of one table in a batch: rows by their ids, which may repeat.

    What is added to the row ``out_of_range_id`` is dropped.
    """

    ids: Array  # int32 [B]
    gradient: Array  # [B, D, K], of the rows as the recommender sees them
    before: Array  # [K], the scale at which they were looked up
    after: Array  # [K], the scale after this step's decay


class Optimizer(NamedTuple):
    """An optimizer of lanes as pure functions; its state of a table is called accumulator."""

    init_accumulator: Callable[
        [Array], Array | None
    ]  # stored [rows, D, K] -> [rows, K]; None for none
    # stored, accumulator, gradient, hyper [K] -> stored, accumulator
    step_rows: Callable[[Array, Array | None, SparseGrad, Hyper], tuple[Array, Array | None]]
    # Of one lane: params -> opt_state; params, gradient, opt_state, hyper [] -> params, opt_state
    init_dense: Callable[[Params], Any]
    step_dense: Callable[[Params, Params, Any, Hyper], tuple[Params, Any]]
    scale_free: bool  # whether steps are as large whatever the size of gradients


# The state of dense parameters does not depend on rates.
_NO_STEP = Hyper(learning_rate=np.zeros(()), weight_decay=np.zeros(()), l2=np.zeros(()))


def out_of_range_id(ids: Array) -> int:
    """Returns an id that is out of range of any table: a scatter drops it."""
    return jnp.iinfo(ids.dtype).max


def _unique(ids: Array) -> tuple[Array, Array]:
    """Returns the slot [B] of each of ids [B], and the id [B] of each slot, unused ones last.

    ``jnp.unique(ids, return_inverse=True, size=ids.size, fill_value=...)`` returns the
    same bits. On two cores it takes 26 instead of 22 microseconds for 128 ids, about as long for
    thousands, and twice as long to compile.
    """
    order = jnp.argsort(ids)
    ordered = ids[order]
    is_new = jnp.append(False, ordered[1:] != ordered[:-1])
    rank = jnp.cumsum(is_new)
    slot = jnp.zeros_like(ids).at[order].set(rank.astype(ids.dtype))
    return slot, jnp.full_like(ids, out_of_range_id(ids)).at[rank].set(ordered)


def _sum_by_id(sparse: SparseGrad) -> tuple[Array, Array]:
    """Returns each id once, [B], unused slots last, and the sum [B, D, K] over its occurrences."""
    slot, unique = _unique(sparse.ids)
    return unique, jnp.zeros_like(sparse.gradient).at[slot].add(sparse.gradient)


def _clipping(clip: float | None) -> optax.GradientTransformation:
    if clip is None:
        return optax.identity()
    if not clip > 0:
        raise ValueError(f"clip is positive or None, got {clip}")
    return optax.clip(clip)


def _dense_step(chain: Callable[[Hyper], optax.GradientTransformation]) -> Callable:
    """Returns the step of dense parameters by an Optax chain.

    The chain is built for the rates of each call, as they are data of a lane. With
    ``optax.inject_hyperparams`` they would be part of the state, and of checkpoints.
    """

    def step(params: Params, gradient: Params, opt_state: Any, hyper: Hyper) -> tuple[Params, Any]:
        updates, opt_state = chain(hyper).update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return step


def sgd(*, clip: float | None = None) -> Optimizer:
    """Builds stochastic gradient descent, which has no state.

    Args:
      clip: gradients of single parameters, the penalty's part included, are clipped to this size;
        None for none.

    Raises:
      ValueError: for a clip that is not positive.

    Example:
      >>> sgd().init_accumulator(jnp.ones((5, 4, 3))) is None
      True
    """
    clipping = _clipping(clip)

    def step_rows(
        stored: Array, accumulator: Array | None, sparse: SparseGrad, hyper: Hyper
    ) -> tuple[Array, Array | None]:
        if clip is None:
            step = -hyper.learning_rate / sparse.after * sparse.gradient
            return stored.at[sparse.ids].add(step), accumulator
        # The original clips the gradient of a parameter, that is the sum over a row's occurrences,
        # penalty included; what the penalty does to the row beyond clipping is in the scale.
        unique, total = _sum_by_id(sparse)
        row = sparse.before * stored.at[unique].get(mode="fill", fill_value=0.0)
        penalty = 2 * hyper.l2 * row
        step = jnp.clip(total + penalty, -clip, clip) - penalty
        step = -hyper.learning_rate / sparse.after * step
        return stored.at[unique].add(step, mode="drop"), accumulator

    def chain(hyper: Hyper) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(2 * hyper.l2),
            clipping,
            optax.add_decayed_weights(hyper.weight_decay),
            optax.scale_by_learning_rate(hyper.learning_rate),
        )

    return Optimizer(
        init_accumulator=lambda stored: None,
        step_rows=step_rows,
        init_dense=chain(_NO_STEP).init,
        step_dense=_dense_step(chain),
        scale_free=False,
    )


def adagrad(
    *, clip: float | None = None, eps: float = 1e-20, initial_accumulator: float = 0.0
) -> Optimizer:
    """Builds row-wise Adagrad.

    (Duchi, Hazan and Singer, 2011, jmlr.org/papers/v12/duchi11a.html.)

    A row of a table has one accumulator, of the mean square of its gradient, as in FBGEMM's and
    TorchRec's row-wise Adagrad (github.com/pytorch/FBGEMM): ``D`` times less memory than one for
    each number. Other parameters have one each, as in Optax.

    A learning rate is then how far a row moves in its first step (root mean square), whatever the
    loss is multiplied by, as long as ``eps`` is small compared with squared gradients and
    ``initial_accumulator`` is 0. Rows move less the more they have moved.

    Args:
      clip: as in ``sgd``, but of the gradient without the penalty.
      eps: added to an accumulator under its root.
      initial_accumulator: what accumulators start from.

    Raises:
      ValueError: for a clip or eps that is not positive, or accumulators that start below 0.

    Example:
      >>> adagrad().init_accumulator(jnp.ones((5, 4, 3))).shape
      (5, 3)
    """
    clipping = _clipping(clip)
    if not (eps > 0 and initial_accumulator >= 0):
        raise ValueError(
            "adagrad needs eps above 0 and initial_accumulator of at least 0, got "
            f"{eps} and {initial_accumulator}"
        )

    def init_accumulator(stored: Array) -> Array:
        return jnp.full_like(stored[:, 0], initial_accumulator)

    def step_rows(
        stored: Array, accumulator: Array | None, sparse: SparseGrad, hyper: Hyper
    ) -> tuple[Array, Array | None]:
        assert accumulator is not None, "init_accumulator makes one for each table"
        unique, total = _sum_by_id(sparse)
        if clip is not None:
            total = jnp.clip(total, -clip, clip)
        square = jnp.mean(total**2, axis=1)
        accumulator = accumulator.at[unique].add(square, mode="drop")
        sums = accumulator.at[unique].get(mode="fill", fill_value=0.0)
        inverse = jnp.where(sums > 0, jax.lax.rsqrt(sums + eps), 0.0)
        step = -(hyper.learning_rate / sparse.after * inverse)[:, None] * total
        return stored.at[unique].add(step, mode="drop"), accumulator

    def chain(hyper: Hyper) -> optax.GradientTransformation:
        return optax.chain(
            clipping,
            optax.scale_by_rss(initial_accumulator, eps),
            optax.add_decayed_weights(hyper.weight_decay + 2 * hyper.l2),
            optax.scale_by_learning_rate(hyper.learning_rate),
        )

    return Optimizer(
        init_accumulator=init_accumulator,
        step_rows=step_rows,
        init_dense=chain(_NO_STEP).init,
        step_dense=_dense_step(chain),
        scale_free=True,
    )


SGD = sgd()

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adagrad": adagrad}
