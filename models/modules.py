"""Modules by name: the models of this package, and users' own."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from autolossgen.suggest import did_you_mean

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


DEFAULT_LEARNING_RATES = (0.3, 1.0, 3.0)  # they suit perceptrons


def get_module_class(name: str | type[nn.Module]) -> type[nn.Module]:
    """Returns the class of a module.

    Args:
      name: a key of ``MODELS``, ``"package.module:Class"``, or the class itself.

    Raises:
      ValueError: if there is no such model, it cannot be imported, or it is not a Flax module.

    Example:
      >>> get_module_class("biased_mf") is BiasedMF
      True
      >>> get_module_class("autolossgen.models.biased_mf:BiasedMF") is BiasedMF
      True
    """
    if not isinstance(name, str):
        return _check_is_module(name, repr(name))
    if name in MODELS:
        return MODELS[name]
    path, colon, attribute = name.partition(":")
    if not colon:
        choices = f"known: {', '.join(MODELS)}; your own: 'package.module:Class'"
        raise ValueError(
            f"model {name!r} is not known ({choices}){did_you_mean(name, MODELS, otherwise='')}"
        )
    try:
        cls = getattr(importlib.import_module(path), attribute, None)
    except Exception as error:  # a module is anyone's code
        raise ValueError(
            f"model {name!r}: importing {path!r} fails: {type(error).__name__}: {error}. It is "
            "looked for in installed packages, next to run.py and in the folders of PYTHONPATH"
        ) from error
    if cls is None:
        hint = did_you_mean(attribute, vars(importlib.import_module(path)), otherwise="")
        raise ValueError(f"model {name!r}: {path!r} has no {attribute!r}{hint}")
    return _check_is_module(cls, repr(name))


def make_module(
    name: str | type[nn.Module], options: Mapping[str, Any], of_item: tuple[str, ...]
) -> nn.Module:
    """Builds a module from its options.

    Args:
      name: as in ``get_module_class``.
      options: field of the module -> value; lists become tuples.
      of_item: names of the rows and features of the item, for modules with a field ``of_item``.

    Raises:
      ValueError: as in ``get_module_class``, for unknown options, and if the module refuses them.
    """
    cls = get_module_class(name)
    values = _check_options(cls, options)
    if "of_item" in {field.name for field in dataclasses.fields(cls)}:
        values["of_item"] = of_item
    try:
        return cls(**values)
    except Exception as error:  # a module is anyone's code
        raise ValueError(
            f"model {cls.__name__} refuses its options {dict(options)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_options(cls: type[nn.Module], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a module, lists as tuples; ValueError for unknown ones."""
    fields = {field.name for field in dataclasses.fields(cls)} - {"parent", "name"}
    accepted = sorted(fields - {"of_item"})
    if not hasattr(options, "items"):
        raise ValueError(
            "options are a dict of a model's options, as in "
            f'{{"hidden": (64, 16)}}, got {options!r}'
        )
    for option in options:
        if option not in accepted:
            has = f"has options {', '.join(accepted)}" if accepted else "has no options"
            hint = did_you_mean(str(option), accepted, otherwise="")
            raise ValueError(f"model {cls.__name__} {has}, got {option!r}{hint}")
    for field in dataclasses.fields(cls):
        value = options.get(field.name)
        if isinstance(field.default, tuple) and not isinstance(value, list | tuple | None):
            raise ValueError(
                f"model {cls.__name__}: the option {field.name!r} is a tuple, such as "
                f"{field.default}, got {value!r}"
            )
    return {key: tuple(x) if isinstance(x, list) else x for key, x in options.items()}


def get_learning_rates(name: str | type[nn.Module]) -> tuple[float, ...]:
    """Returns the learning rates of SGD to try a model at, smallest first.

    They are for a mean loss with a gradient as large as BCE's. A module's class declares them as
    ``learning_rates``; a module without them gets ``DEFAULT_LEARNING_RATES``.

    Raises:
      ValueError: as in ``get_module_class``, and for rates that are not positive numbers.

    Example:
      >>> get_learning_rates("biased_mf")
      (3.0, 10.0)
    """
    cls = get_module_class(name)
    declared = getattr(cls, "learning_rates", DEFAULT_LEARNING_RATES)
    try:
        rates = tuple(sorted(float(rate) for rate in declared))
    except (TypeError, ValueError):
        rates = ()
    if not rates or not rates[0] > 0:
        raise ValueError(
            f"model {cls.__name__}: learning_rates are positive numbers, got {declared!r}"
        )
    return rates


def _check_is_module(value: Any, name: str) -> type[nn.Module]:
    """Returns a class of Flax modules; ValueError for anything else."""
    if isinstance(value, type) and issubclass(value, nn.Module):
        return value
    kind = "another class" if isinstance(value, type) else f"a {type(value).__name__}"
    raise ValueError(f"model {name}: expected a class of flax.linen.Module, got {kind}")
