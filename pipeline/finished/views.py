"""What a page shows of tested losses: their formulas, their code and their curves."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autolossgen import (
    DEFAULT_BOUNDS,
    UNBOUNDED,
    build_loss,
    named_loss,
    report,
    to_python,
    to_torch,
)
from autolossgen.configs.old_keys import update_keys
from autolossgen.configs.topk import is_of_rankings
from autolossgen.language.inputs import LossFn, as_program
from autolossgen.language.latex import write_latex
from autolossgen.language.printing import check_size
from autolossgen.report import LossCurves, LossResult, LossView, RunFolder
from autolossgen.search.space import load_family

POINTS = 241
"""Inputs of a curve; few enough for a page, and no kink is missed by eye."""

SHOWN = 3
"""Found losses whose curves and formulas are shown, and as many baselines."""

NUM_OTHERS = 9
"""Negatives next to the one that a curve moves."""

_LOGITS = (-6.0, 6.0)
_MARGINS = {"cosine": 1.0, "half_cosine": 0.5, "sigmoid": 0.5}
"""Score -> how far a negative may be from a positive that is in the middle; others are logits."""


def build_tested(loss: LossResult, config: Mapping[str, Any] | None) -> LossFn:
    """Builds a tested loss as the run trained it.

    Args:
      loss: with a formula.
      config: of the run.

    Raises:
      ValueError: if it cannot be built.
    """
    config = update_keys(dict(config or {}))
    constants: dict[str, Any] = dict(loss.constants)
    if is_of_rankings(config):
        if not loss.found:
            return named_loss(loss.name, **constants)
        # A formula of one's own is clipped, what a search found is not.
        bounds = UNBOUNDED if loss.name.startswith("found-") else DEFAULT_BOUNDS
        return build_loss(loss.formula, family="pairwise", bounds=bounds, **constants)
    if not loss.found:
        return named_loss(loss.name, smoothing=config["contenders"]["smoothing"])
    space = config["space"]
    family = load_family(space["family"], space["extra_operators"])
    return build_loss(loss.formula, family=family, bounds=loss.bounds or space["bounds"])


def make_views(files: RunFolder, configs: Mapping[tuple[str, str], Any]) -> report.Views:
    """Returns what a page shows of the losses that matter, of those that can be built.

    Args:
      files: of the run.
      configs: model and data set -> config of the run that tested there.
    """
    views: dict[tuple[str, str, str], LossView] = {}
    for cell in files.cells:
        to_use, is_only = report.get_best_loss(cell), len(files.cells) == 1
        for loss in _choose_losses(cell) if is_only else [to_use]:
            if loss is None or not loss.formula:
                continue  # of a recommender without a loss
            try:
                function = build_tested(loss, configs.get((cell.model, cell.dataset)))
            except (ValueError, KeyError, ImportError, AttributeError):
                continue  # of another version, or of operators that are not here
            views[cell.model, cell.dataset, loss.name] = LossView(
                latex=_write_latex(loss, function),
                code=_write_code(loss, function) if loss is to_use else {},
                curves=_compute_curves(loss, function) if is_only else None,
            )
    return views


def _choose_losses(cell: report.Cell) -> list[LossResult | None]:
    """Returns the best found losses, the best baselines, and the loss to use: each compiles."""
    ordered = report.sort_by_validation(cell)
    found = [loss for loss in ordered if loss.found][:SHOWN]
    baselines = [loss for loss in ordered if not loss.found and loss.formula][:SHOWN]
    # By identity: a result holds what cannot be hashed.
    chosen = [*found, report.get_best_baseline(cell), *baselines, report.get_best_loss(cell)]
    return list({id(loss): loss for loss in chosen}.values())


def read_configs(folder: Path, files: RunFolder) -> dict[tuple[str, str], Any]:
    """Returns model and data set -> config of the run that tested there.

    Those of a transfer are in the folders of its cells.
    """
    configs = {}
    for cell in files.cells:
        own = folder / f"{cell.model}-{cell.dataset}".replace(":", ".")
        configs[cell.model, cell.dataset] = report.read_config(own) or files.config
    return configs


def _write_latex(loss: LossResult, function: LossFn) -> dict[str, str]:
    """Returns the loss as LaTeX; of a found one, whose formula is simplified, also by label."""
    programs = {"": function.program}
    if loss.found and not function.family.is_pairwise:
        family = function.family
        programs |= {k: as_program(text, family=family) for k, text in loss.by_label.items()}
    try:
        for program in programs.values():
            check_size(program, function.family)
    except ValueError:
        return {}  # too long to read
    return {label: write_latex(program, function.family) for label, program in programs.items()}


def _write_code(loss: LossResult, function: LossFn) -> dict[str, str]:
    """Returns the loss as code: of this package, and without it."""
    sources = {
        "Python": _write_build(loss, function),
        "JAX": _try_to(to_python, function),
        "PyTorch": _try_to(to_torch, function),
    }
    rate = loss.learning_rate
    comment = "" if rate is None else f"# {loss.name}, to be trained at learning rate {rate:.4g}\n"
    return {name: comment + text.rstrip() for name, text in sources.items() if text}


def _write_build(loss: LossResult, function: LossFn) -> str:
    """Returns the lines that build a loss with this package."""
    pairwise = function.family.is_pairwise
    arguments = "pos, neg" if pairwise else "logits, labels"
    arguments += ", threshold=threshold" if function.reads_threshold else ""
    constants = "".join(f", {name}={value:.6g}" for name, value in loss.constants.items())
    if not loss.found:
        name, call = "named_loss", f"{loss.name!r}{constants}"
    else:
        name, call = "build_loss", repr(loss.formula)
        call += ', family="pairwise"' if pairwise else ""
        if function.bounds == UNBOUNDED:
            name, call = "UNBOUNDED, build_loss", f"{call}, bounds=UNBOUNDED"
        elif function.bounds != DEFAULT_BOUNDS:
            call += f", bounds={function.bounds}"
        call += constants
    function_name = name.rpartition(" ")[2]
    return (
        f"from autolossgen import {name}\n"
        f"loss = {function_name}({call})\n"
        f"value = loss({arguments})  # the mean, a scalar"
    )


def _try_to(write: Callable[..., str], source: Any, **settings: Any) -> str | None:
    """Returns an export, or None for a loss that is too long for it or has no form in it."""
    try:
        return write(source, **settings)
    except ValueError:
        return None


def _compute_curves(loss: LossResult, function: LossFn) -> LossCurves:
    if function.family.is_pairwise:
        return _compute_pairwise_curves(function, _MARGINS.get(loss.score, _LOGITS[1]))
    return _compute_pointwise_curves(function)


def _compute_pointwise_curves(function: LossFn) -> LossCurves:
    """Returns value and gradient over the logit, for a like and for a dislike."""
    logits = np.linspace(*_LOGITS, POINTS, dtype=np.float32)
    cases = {"a like": 1.0, "a dislike": 0.0}
    labels = np.repeat(np.array([*cases.values()], np.float32)[:, None], POINTS, axis=1)

    def compute(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = function(scores, labels, reduce_fn=None)
        return values.sum(), values

    gradients, values = jax.jit(jax.grad(compute, has_aux=True))(jnp.tile(logits, (2, 1)))
    return LossCurves(
        axis="logit",
        inputs=logits.tolist(),
        values=dict(zip(cases, np.asarray(values).tolist(), strict=True)),
        gradients=dict(zip(cases, np.asarray(gradients).tolist(), strict=True)),
    )


def _compute_pairwise_curves(function: LossFn, margin: float) -> LossCurves:
    """Returns value and gradient over d, by how much a positive is ahead of one of its negatives.

    The positive stays where it is, at the user's threshold, and so do the other negatives, which
    are spread evenly below it. The gradient is that by the negative, with its sign turned: by d.
    """
    ahead = np.linspace(-margin, margin, POINTS, dtype=np.float32)
    pos = jnp.zeros(POINTS)
    others = jnp.tile(jnp.linspace(-margin, 0.0, NUM_OTHERS), (POINTS, 1))
    settings: dict[str, Any] = {"threshold": pos} if function.reads_threshold else {}

    def compute(d: jax.Array) -> tuple[jax.Array, jax.Array]:
        neg = jnp.concatenate([-d[:, None], others], axis=1)
        values = function(pos, neg, reduce_fn=None, **settings)
        return values.sum(), values

    gradients, values = jax.jit(jax.grad(compute, has_aux=True))(jnp.asarray(ahead))
    case = f"one negative among {NUM_OTHERS + 1}"
    return LossCurves(
        axis="d: positive minus negative",
        inputs=ahead.tolist(),
        values={case: np.asarray(values).tolist()},
        gradients={case: np.asarray(gradients).tolist()},
    )
