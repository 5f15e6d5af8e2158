"""Options of named losses: the loss at the edges of each, and what is refused."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import PAIRWISE_LOSSES, POINTWISE_LOSSES, named_loss

FURTHER = np.float32(np.geomspace(5, 1e4, 40))
"""Logits on the wrong side, ever further from the right one."""


def edges(option):
    return {option.default, option.low, option.high, option.smallest or option.low}


CASES = [
    (name, smoothing, dict(zip(loss.options, values, strict=True)))
    for name, loss in {**POINTWISE_LOSSES, **PAIRWISE_LOSSES}.items()
    if name != "sl_at_k"  # its weight gives up positives far below the user's threshold
    for values in product(*map(edges, loss.options.values()))
    for smoothing in ((1e-6, 0.1) if name in ("maxr", "sumr", "logmin") else (0.1,))
]


def on_the_wrong_side(name, smoothing, options):
    """Returns the loss of positives that fall, and of negatives that rise."""
    loss = named_loss(name, smoothing=smoothing, **options)
    if name in POINTWISE_LOSSES:
        return loss(-FURTHER, 1.0, reduce_fn=None), loss(FURTHER, 0.0, reduce_fn=None)
    zero, given = np.zeros_like(FURTHER), {"threshold": 0.5} if loss.reads_threshold else {}
    of_positives = loss(-FURTHER, zero[:, None], **given, reduce_fn=None)
    return of_positives, loss(zero, FURTHER[:, None], **given, reduce_fn=None)


def test_no_loss_falls_further_on_the_wrong_side():
    every = jax.jit(lambda: [on_the_wrong_side(*case) for case in CASES])()
    for case, sides in zip(CASES, every, strict=True):
        for values in map(np.asarray, sides):
            assert np.isfinite(values).all(), case
            rounding = 1e-6 * np.maximum(1, np.abs(values[1:]))
            assert (np.diff(values) >= -rounding).all(), (case, values)


def test_the_asymmetric_loss_without_a_margin_still_pushes_certain_mistakes():
    loss = named_loss("asymmetric", margin=0.0)
    logits = jnp.array([17.0, 20.0, 1e4])
    np.testing.assert_allclose(loss(logits, 0.0, reduce_fn=None), logits, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(jax.grad(loss), (0, None))(logits, 0.0), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("bcee", {}, r"'bcee' is not a named loss \(did you mean 'bce'\?\)"),
        (None, {}, "'?None'? is not a named loss"),
        ("bce", {"gamma": 2.0}, "bce has no option 'gamma'"),
        ("focal", {"gama": 2.0}, r"focal has no option 'gama' \(did you mean 'gamma'\?\)"),
        ("focal", {"gamma": -1.0}, "gamma of focal is a number from 0 to 64, got -1.0"),
        ("focal", {"alpha": "a"}, "alpha of focal is a number from 0 to 1, got 'a'"),
        ("focal", {"gamma": float("nan")}, "gamma of focal is a number"),
        (
            "asymmetric",
            {"gamma_neg": 2.5},
            "gamma_neg of asymmetric is a whole number from 0 to 64",
        ),
        ("asymmetric", {"margin": 1e-6}, "is 0 or a number from 0.001 to 1, got 1e-06"),
        ("focal", {"gamma": 10**400}, "gamma of focal is a number from 0 to 64, got 1000"),
        ("maxr", {"smoothing": 0.0}, "smoothing is positive, got 0"),
        ("maxr", {"smoothing": "0.1"}, "smoothing is positive, got '0.1'"),
        ("maxr", {"smoothing": float("inf")}, "smoothing is positive, got inf"),
        ("poly1", {"epsilon": None}, "epsilon of poly1 is a number from -1 to 1000, got None"),
        ([], {}, "not a named loss"),
    ],
)
def test_bad_names_and_options_are_refused(name, options, expected):
    with pytest.raises(ValueError, match=expected):
        named_loss(name, **options)


def test_options_are_numbers_of_any_library_and_may_repeat_the_default():
    quarter = named_loss("focal", alpha=0.25)
    assert named_loss("focal", alpha=np.float32(0.25)) is quarter
    assert named_loss("focal", alpha=jnp.float32(0.25)) is quarter
    assert named_loss("focal", alpha=None, gamma=np.int64(2)) is named_loss("focal")
