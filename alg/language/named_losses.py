"""Named losses: those that the paper compares, and others that are used in recommendation."""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..suggest import did_you_mean
from .build import UNBOUNDED, build_from_program
from .families import PAIRWISE, POINTWISE, Family
from .inputs import LossFn, as_static
from .parser import Template, as_float, parse_template
from .programs import Program


class Option(NamedTuple):
    """Number that a named loss takes: ``low`` to ``high``, and 0 or at least ``smallest``."""

    default: float | None
    low: float
    high: float
    smallest: float = 0.0
    whole: bool = False
    tuned: tuple[float, float] | None = None  # where a tuner looks; None leaves the default

    def takes(self, number: float) -> bool:
        """Whether a number is allowed."""
        if self.whole and not number.is_integer():
            return False
        return self.low <= number <= self.high and not 0 < abs(number) < self.smallest

    def __str__(self) -> str:
        """Returns a description of the numbers that are allowed."""
        number = "a whole number" if self.whole else "a number"
        if self.smallest:
            return f"0 or {number} from {self.smallest:g} to {self.high:g}"
        return f"{number} from {self.low:g} to {self.high:g}"


class NamedLoss(NamedTuple):
    """A loss that has a name; ``s`` in a formula is the smoothing."""

    formula: str | Callable[..., str]  # or a function of the options that returns it
    source: str  # the paper or the book that it is from
    options: Mapping[str, Option] = {}
    family: Family = POINTWISE
    score: str = "dot"  # of a user and an item, that the loss is made for; see ranking/scores.py


def _focal(gamma: float, alpha: float | None) -> str:
    if gamma == 2:  # the default, without an exponential
        positive_factor, negative_factor = "square(1 - pred)", "square(pred)"
    else:
        # 1 - pred is exp(-softplus(logit)), so any power of it is an exponential.
        positive_factor, negative_factor = (
            f"exp(-gamma * softplus({logit}))" for logit in ("logit", "-logit")
        )
    positive_weight, negative_weight = ("", "") if alpha is None else ("alpha * ", "(1 - alpha) * ")
    return (
        f"{positive_weight}label * {positive_factor} * softplus(-logit)"
        f" + {negative_weight}(1 - label) * {negative_factor} * softplus(logit)"
    )


def _asymmetric(gamma_pos: float, gamma_neg: float, margin: float) -> str:
    positive_term = "label * (1 - pred) ** gamma_pos * softplus(-logit)"
    if margin == 0:  # 1 - pred rounds to 0, and softplus(logit) is the exact -log of it
        return f"{positive_term} + (1 - label) * pred ** gamma_neg * softplus(logit)"
    negative_term = "relu(pred - margin) ** gamma_neg * log(min(1 - pred + margin, 1))"
    return f"{positive_term} - (1 - label) * {negative_term}"


PAPER_LOSSES: dict[str, NamedLoss] = {
    "bce": NamedLoss("softplus(logit) - label * logit", "binary cross-entropy"),
    "mse": NamedLoss("square(label - pred)", "mean squared error (Brier, 1950)"),
    "hinge": NamedLoss(
        "label * relu(1 - logit) + (1 - label) * logit",
        "PyTorch's HingeEmbeddingLoss of the logit, as in the paper's comparison",
    ),
    "focal": NamedLoss(
        _focal,
        "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv:1708.02002",
        {
            "gamma": Option(default=2.0, low=0.0, high=64.0),
            "alpha": Option(default=None, low=0.0, high=1.0),
        },
    ),
    "maxr": NamedLoss(
        "max((label + s) / (pred + s), (pred + s) / (label + s))",
        "Li et al., AutoLossGen, SIGIR 2022, arXiv:2204.13160",
    ),
    "sumr": NamedLoss(
        "(label + pred + s) / (s + pred * label)",
        "Li et al., AutoLossGen, SIGIR 2022, arXiv:2204.13160",
    ),
    "logmin": NamedLoss(
        "log(1 / (min(label, pred) + s) + s) * (min(label, pred) + label + pred)",
        "Li et al., AutoLossGen, SIGIR 2022, arXiv:2204.13160",
    ),
}
"""The losses of the paper's comparison."""

POINTWISE_LOSSES: dict[str, NamedLoss] = {
    **PAPER_LOSSES,
    "smoothed_bce": NamedLoss(
        "softplus(logit) - (label * (1 - amount) + amount / 2) * logit",
        "label smoothing: Szegedy et al., CVPR 2016, arXiv:1512.00567",
        {"amount": Option(default=0.1, low=0.0, high=1.0)},
    ),
    "asymmetric": NamedLoss(
        _asymmetric,
        "Ridnik et al., Asymmetric Loss for Multi-Label Classification, ICCV 2021, "
        "arXiv:2009.14119",
        {
            "gamma_pos": Option(default=0, low=0, high=64, whole=True),
            "gamma_neg": Option(default=4, low=0, high=64, whole=True),
            "margin": Option(default=0.05, low=0.0, high=1.0, smallest=1e-3),
        },
    ),
    "poly1": NamedLoss(
        "softplus(logit) - label * logit + epsilon * (label * (1 - pred) + (1 - label) * pred)",
        "Leng et al., PolyLoss, ICLR 2022, arXiv:2204.12511",
        {"epsilon": Option(default=1.0, low=-1.0, high=1e3)},
    ),
    "generalized_ce": NamedLoss(
        "(label * (1 - exp(-q * softplus(-logit))) + (1 - label) * (1 - exp(-q * softplus(logit))))"
        " / q",
        "Zhang and Sabuncu, Generalized Cross Entropy Loss, NeurIPS 2018, arXiv:1805.07836",
        {"q": Option(default=0.7, low=1e-3, high=1.0)},
    ),
    "margin": NamedLoss(
        "relu(1 - (2 * label - 1) * logit)",
        "the hinge of support vector machines: Cortes and Vapnik, Machine Learning 20, 1995",
    ),
}
"""Losses of a prediction and its label."""

_TEMPERATURE = Option(default=0.2, low=1e-3, high=1e3, tuned=(0.02, 1.0))
_PSL_SOURCE = "Yang et al., PSL, NeurIPS 2024, arXiv:2411.00163"

PAIRWISE_LOSSES: dict[str, NamedLoss] = {
    "bpr": NamedLoss(
        "softplus(-diff)",
        "Rendle et al., BPR, UAI 2009, arXiv:1205.2618",
        family=PAIRWISE,
    ),
    "hinge_rank": NamedLoss(
        "relu(margin - diff)",
        "Joachims, Optimizing Search Engines using Clickthrough Data, KDD 2002",
        {"margin": Option(default=1.0, low=0.0, high=1e3, tuned=(0.01, 10.0))},
        PAIRWISE,
    ),
    "sampled_softmax": NamedLoss(
        "softplus(logsumexp_neg(-diff / temperature))",
        "Wu et al., On the Effectiveness of Sampled Softmax Loss for Item Recommendation, "
        "arXiv:2201.02327; no correction for popularity",
        {"temperature": Option(default=1.0, low=1e-3, high=1e3, tuned=(0.1, 4.0))},
        PAIRWISE,
    ),
    "softmax": NamedLoss(
        "logsumexp_neg(-diff / temperature)",
        "Wu et al., On the Effectiveness of Sampled Softmax Loss for Item Recommendation, "
        "arXiv:2201.02327; the positive is not in the sum",
        {"temperature": _TEMPERATURE},
        PAIRWISE,
        score="cosine",
    ),
    "bsl": NamedLoss(
        "-pos / pos_temperature"
        " + neg_temperature / pos_temperature * logsumexp_neg(neg / neg_temperature)",
        "Wu et al., BSL, ICDE 2024, arXiv:2312.12882",
        {"pos_temperature": _TEMPERATURE, "neg_temperature": _TEMPERATURE},
        PAIRWISE,
        score="cosine",
    ),
    "psl": NamedLoss(
        "logsumexp_neg(log(max(1 - diff, 1e-6)) / temperature)",
        _PSL_SOURCE + "; the activation is relu",
        {"temperature": _TEMPERATURE},
        PAIRWISE,
        score="half_cosine",
    ),
    "psl_tanh": NamedLoss(
        "logsumexp_neg(log(1 - tanh(diff)) / temperature)",
        _PSL_SOURCE + "; the activation is tanh",
        {"temperature": _TEMPERATURE},
        PAIRWISE,
        score="half_cosine",
    ),
    "psl_atan": NamedLoss(
        "logsumexp_neg(log(1 - atan(diff)) / temperature)",
        _PSL_SOURCE + "; the activation is atan",
        {"temperature": _TEMPERATURE},
        PAIRWISE,
        score="half_cosine",
    ),
    "sl_at_k": NamedLoss(
        "sigmoid((pos - threshold) / weight_temperature) * logsumexp_neg(-diff / temperature)",
        "Yang et al., Breaking the Top-K Barrier, KDD 2025, arXiv:2508.05673",
        {
            "temperature": _TEMPERATURE,
            "weight_temperature": Option(default=2.5, low=1e-3, high=1e3, tuned=(0.3, 10.0)),
        },
        PAIRWISE,
        score="cosine",
    ),
    "talos": NamedLoss(
        "softplus(threshold - pos) / temperature"
        " + logsumexp_neg(-softplus(threshold - neg) / temperature)",
        "Zhang et al., Talos, WWW 2026, arXiv:2601.19276: softmax of the log of "
        "sigmoid(score - threshold)",
        {"temperature": _TEMPERATURE},
        PAIRWISE,
        score="cosine",
    ),
    "ccl": NamedLoss(
        "1 - pos + weight * mean_neg(relu(neg - margin))",
        "Mao et al., SimpleX, CIKM 2021, arXiv:2109.12613; of cosine similarities, "
        "margin and weight to be tuned",
        {
            "margin": Option(default=0.0, low=-1.0, high=1.0, tuned=(-0.2, 0.9)),
            "weight": Option(default=1.0, low=0.0, high=1e4, tuned=(1.0, 1000.0)),
        },
        PAIRWISE,
        score="cosine",
    ),
    "gbce": NamedLoss(
        "((1 - t * (1 - alpha)) * softplus(-pos) + sum_neg(softplus(neg))) / (1 + sum_neg(1))",
        "Petrov and Macdonald, gSASRec, RecSys 2023, arXiv:2308.07192; alpha is the share of the "
        "catalogue that is sampled as negatives, t the calibration",
        {
            "alpha": Option(default=0.01, low=0.0, high=1.0),
            "t": Option(default=0.75, low=0.0, high=1.0, tuned=(0.0, 1.0)),
        },
        PAIRWISE,
    ),
    "bce_sum": NamedLoss(
        "softplus(-pos) + sum_neg(softplus(neg))",
        "negative sampling: Mikolov et al., NeurIPS 2013, arXiv:1310.4546",
        family=PAIRWISE,
    ),
    "bce_mean": NamedLoss(
        "softplus(-pos) + softplus(neg)",
        "binary cross-entropy that gives all negatives together the weight of the positive",
        family=PAIRWISE,
    ),
}
"""Losses of a positive and its sampled negatives."""


def _resolve_options(
    name: str, loss: NamedLoss, options: Mapping[str, float]
) -> dict[str, float | None]:
    """Returns the value of every option, checked."""
    settings = {key: option.default for key, option in loss.options.items()}
    for key, value in options.items():
        if key not in settings:
            hint = did_you_mean(key, settings) if settings else ""
            raise ValueError(f"{name} has no option {key!r}{hint}")
        option, number = loss.options[key], as_float(value, f"{key} of {name}")
        if option.takes(number):
            settings[key] = number
        elif value is not None or option.default is not None:
            raise ValueError(f"{key} of {name} is {option}, got {value!r}")
    return settings


def _get_named_loss(name: str) -> NamedLoss:
    known = {**POINTWISE_LOSSES, **PAIRWISE_LOSSES}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{name!r} is not a named loss{did_you_mean(str(name), list(known))}")
    return known[name]


def get_formula(name: str, **options: float) -> str:
    """Returns the formula of a named loss, in which options and ``s``, the smoothing, are names."""
    loss = _get_named_loss(name)
    settings = _resolve_options(name, loss, options)
    return loss.formula(**settings) if callable(loss.formula) else loss.formula


def named_program(name: str, *, smoothing: float = 1e-6, **options: float) -> Program:
    """Returns the program of a named loss; it is meant for ``bounds=UNBOUNDED``.

    A program does not know its family: pass ``family="pairwise"`` wherever one of
    ``PAIRWISE_LOSSES`` goes. The function that ``named_loss`` returns knows both.

    Raises:
      ValueError: for an unknown name (with a suggestion), an option that the loss does not have, or
        a value out of range.

    Example:
      >>> from autolossgen import to_text
      >>> to_text(named_program("maxr", smoothing=0.1))
      'max((label + 0.1) / (pred + 0.1), (pred + 0.1) / (label + 0.1))'
    """
    return _make_template(name, smoothing, options).program


def _make_template(name: str, smoothing: float, options: Mapping[str, float]) -> Template:
    """Returns the program of a named loss, and where it holds the options."""
    loss = _get_named_loss(name)
    if not 0 < as_float(smoothing, "smoothing") < math.inf:
        raise ValueError(f"smoothing is positive, got {smoothing!r}")
    formula = get_formula(name, **options)
    constants = {**_resolve_options(name, loss, options), "s": smoothing}
    used = {
        key: value
        for key, value in constants.items()
        if value is not None and _mentions(formula, key)
    }
    template = parse_template(formula, loss.family, used)
    return template._replace(program=as_static(template.program, loss.family))


def _mentions(formula: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", formula) is not None


def named_loss(name: str, *, smoothing: float = 1e-6, **options: float) -> LossFn:
    """Builds a named loss of logits.

    Args:
      name: a key of ``POINTWISE_LOSSES`` or ``PAIRWISE_LOSSES``.
      smoothing: keeps the ratios of maxr, sumr and logmin finite; other losses ignore it.
      **options: options of the loss, such as ``gamma`` and ``alpha`` of focal.

    Raises:
      ValueError: for an unknown name (with a suggestion), an option that the loss does not have, or
        a value out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(named_loss("bce")(jnp.array([0.0]), jnp.array([1.0]))), 4)
      0.6931
      >>> round(float(named_loss("bpr")(jnp.array([0.0]), jnp.array([[0.0, 0.0]]))), 4)
      0.6931
    """
    program, slots = _make_template(name, smoothing, options)
    family = _get_named_loss(name).family
    return build_from_program(program, family, UNBOUNDED, name=name, slots=slots)
