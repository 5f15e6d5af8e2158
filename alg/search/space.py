"""The space of a search: the tokens and the length of losses, and the first ones to try."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..interfaces import Grammar
from ..language.families import Family, as_family
from ..language.grammar import (
    Vocabulary,
    extend_family,
    make_grammar,
    make_typed_grammar,
    make_vocabulary,
)
from ..language.operators import Op, as_bounds
from ..suggest import did_you_mean
from .initial_losses import name_initial_losses, write_initial_losses


class Space(NamedTuple):
    """The losses that a search may write."""

    vocabulary: Vocabulary
    length: int  # largest number of tokens of a loss, L
    bounds: tuple[float, float]  # that intermediate results are clipped to
    initial_losses: np.ndarray  # int32 [n, L], losses that a search begins with
    initial_names: tuple[str, ...]  # their names or formulas
    grammar: Grammar


def make_space(
    *,
    operators: Sequence[str] | None = None,
    operands: Sequence[str] | None = None,
    length: int,
    bounds: tuple[float, float],
    family: str = "pointwise",
    initial_losses: Sequence[str] = (),
    length_prior: tuple[float, float] | None = None,
    extra_operators: str | Sequence[Op] = (),
    typed: bool = False,
) -> Space:
    """Builds a search space.

    Args:
      operators: names of operators; None for the family's, except ``id``, which only makes losses
        longer.
      operands: names of operands and numbers; None for the family's.
      length: tokens in a loss at most, L.
      bounds: intermediate results are clipped to them.
      family: ``"pointwise"`` or ``"pairwise"``.
      initial_losses: named losses or formulas to begin with, see ``name_initial_losses``.
      length_prior: see ``make_grammar``.
      extra_operators: your own operators, in addition to ``operators``; or where they are, see
        ``load_operators``.
      typed: whether the grammar is that of ``make_typed_grammar``, for pairwise losses.

    Raises:
      ValueError: for unknown names, no tokens, bounds that are out of order, an operator of your
        own that is not sound, or an initial loss that the space cannot write.

    Example:
      >>> make_space(length=9, bounds=(-1e5, 1e5), family="pairwise").vocabulary.names[:5]
      ('PAD', 'pos', 'neg', 'diff', '1')
    """
    if operators is None:
        operators = [name for name in as_family(family).operators if name != "id"]
    extra = _as_operators(extra_operators)
    vocabulary = make_vocabulary(operators, operands, family=family, extra=extra)
    bounds, make = as_bounds(bounds), make_typed_grammar if typed else make_grammar
    names = name_initial_losses(initial_losses, vocabulary, length=length, bounds=bounds)
    return Space(
        vocabulary=vocabulary,
        length=length,
        bounds=bounds,
        initial_losses=write_initial_losses(names, vocabulary, length=length, bounds=bounds),
        initial_names=names,
        grammar=make(vocabulary, length, length_prior=length_prior),
    )


def load_family(family: str | Family, extra_operators: str | Sequence[Op] = ()) -> Family:
    """Returns a family, with your own operators if there are any; see ``make_space``."""
    return extend_family(family, _as_operators(extra_operators))


def _as_operators(operators: str | Sequence[Op]) -> tuple[Op, ...]:
    return load_operators(operators) if isinstance(operators, str) else tuple(operators)


@lru_cache  # the same operators are the same objects, so families that have them are equal
def load_operators(spec: str) -> tuple[Op, ...]:
    """Loads your own operators.

    Args:
      spec: ``"package.module:NAME"`` or ``"path/to/file.py:NAME"``, where ``NAME`` is an ``Op`` or
        a sequence of them; empty for none.

    Raises:
      ValueError: if there is no such module or name, or it holds anything but operators.
    """
    if not spec:
        return ()
    path, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(
            "space.extra_operators is 'package.module:NAME' or 'path/to/file.py:NAME', "
            f"got {spec!r}"
        )
    names = _load_names(path)
    if name not in names:
        public = [known for known in names if not known.startswith("_")]
        hint = did_you_mean(name, public, otherwise="")
        raise ValueError(f"space.extra_operators: {path!r} has no {name!r}{hint}")
    value = names[name]
    operators = (value,) if isinstance(value, Op) else value
    if not isinstance(operators, Sequence) or not all(isinstance(op, Op) for op in operators):
        raise ValueError(
            f"space.extra_operators: {spec!r} is a sequence of Op, got {type(value).__name__}"
        )
    return tuple(operators)


def _load_names(path: str) -> Mapping[str, Any]:
    """Returns what a module or a file of Python defines."""
    try:
        if not path.endswith(".py"):
            return vars(importlib.import_module(path))
        module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        if module_spec is None or module_spec.loader is None:
            raise ImportError("it is no file of Python")
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        return vars(module)
    except Exception as error:  # a module is anyone's code
        raise ValueError(
            f"space.extra_operators: loading {path!r} fails: {type(error).__name__}: {error}. "
            "Modules are looked for in installed packages, next to run.py and in PYTHONPATH; "
            "files from the current folder"
        ) from error
