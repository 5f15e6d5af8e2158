"""Modules by name: the ones that come along, and anyone's own."""

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from .biased_mf import BiasedMF
from .dcn_v2 import DCNv2
from .deep import Deep
from .deepfm import DeepFM
from .neumf import NeuMF
from .two_tower import TwoTower

MODELS: dict[str, type[nn.Module]] = {
    "biased_mf": BiasedMF,
    "deep": Deep,
    "neumf": NeuMF,
    "deepfm": DeepFM,
    "dcn_v2": DCNv2,
    "two_tower": TwoTower,
}


def module_class(name: str | type[nn.Module]) -> type[nn.Module]:
    """Give a module's class.

    Args:
      name: a key of ``MODELS``, ``"package.module:Class"``, or the class itself.

    Raises:
      ValueError: if there is no such model, if it cannot be imported, or is no Flax module.

    >>> module_class("biased_mf") is module_class("models.biased_mf:BiasedMF") is BiasedMF
    True
    """
    if not isinstance(name, str):
        return _checked(name, repr(name))
    if name in MODELS:
        return MODELS[name]
    path, colon, attribute = name.partition(":")
    if not colon:
        known = f"known: {', '.join(MODELS)}; your own: 'package.module:Class'"
        raise ValueError(f"model {name!r} is not known ({known}){_meant(name, MODELS)}")
    try:
        found = getattr(importlib.import_module(path), attribute, None)
    except Exception as error:  # a module is anyone's code
        raise ValueError(
            f"model {name!r}: importing {path!r} fails: {type(error).__name__}: {error}. It is "
            "looked for in installed packages, beside run.py and in the folders of PYTHONPATH"
        ) from error
    if found is None:
        names = vars(importlib.import_module(path))
        raise ValueError(f"model {name!r}: {path!r} has no {attribute!r}{_meant(attribute, names)}")
    return _checked(found, repr(name))


def make_module(
    name: str | type[nn.Module], options: Mapping[str, Any], of_item: tuple[str, ...]
) -> nn.Module:
    """Make a module with options, its fields.

    Args:
      name: as in ``module_class``.
      options: field -> value; lists become tuples.
      of_item: rows and features that are the item's, for modules with a field ``of_item``.

    Raises:
      ValueError: as in ``module_class``, for unknown options, and if the module refuses them.
    """
    cls = module_class(name)
    fields = {field.name for field in dataclasses.fields(cls)} - {"parent", "name"}
    known = sorted(fields - {"of_item"})
    if not hasattr(options, "items"):
        raise ValueError(
            "options are a dict of a model's options, as in "
            f'{{"hidden": (64, 16)}}, got {options!r}'
        )
    for option in options:
        if option not in known:
            has = f"has options {', '.join(known)}" if known else "has no options"
            raise ValueError(
                f"model {cls.__name__} {has}, got {option!r}{_meant(str(option), known)}"
            )
    for field in dataclasses.fields(cls):
        value = options.get(field.name)
        if isinstance(field.default, tuple) and not isinstance(value, list | tuple | None):
            raise ValueError(
                f"model {cls.__name__}: the option {field.name!r} is a tuple, such as "
                f"{field.default}, got {value!r}"
            )
    values = {key: tuple(x) if isinstance(x, list) else x for key, x in options.items()}
    if "of_item" in fields:
        values["of_item"] = of_item
    try:
        return cls(**values)
    except Exception as error:  # a module is anyone's code
        raise ValueError(
            f"model {cls.__name__} refuses its options {dict(options)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def learning_rates(name: str | type[nn.Module]) -> tuple[float, ...]:
    """Give the learning rates of SGD that a model is to be tried at, smallest first.

    They are for a mean loss with a gradient as large as BCE's, and what the module's class has as
    ``learning_rates``; a module without them gets rates that suit perceptrons.

    Raises:
      ValueError: as in ``module_class``, and for rates that are not positive numbers.

    >>> learning_rates("biased_mf")
    (3.0, 10.0)
    """
    cls = module_class(name)
    rates = getattr(cls, "learning_rates", (0.3, 1.0, 3.0))
    try:
        found = tuple(sorted(float(rate) for rate in rates))
    except (TypeError, ValueError):
        found = ()
    if not found or not found[0] > 0:
        raise ValueError(
            f"model {cls.__name__}: learning_rates are positive numbers, got {rates!r}"
        )
    return found


def _checked(found: Any, name: str) -> type[nn.Module]:
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found
    kind = "a class that is none" if isinstance(found, type) else f"a {type(found).__name__}"
    raise ValueError(f"model {name}: expected a class of flax.linen.Module, got {kind}")


def _meant(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
