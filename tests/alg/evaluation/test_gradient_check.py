"""The check of found losses looks at the gradient of what is executed."""

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import DEFAULT_BOUNDS, PAPER_BOUNDS, PAPER_LOSSES, UNBOUNDED, named_loss
from autolossgen.evaluation.gradient_check import check_gradients
from autolossgen.language.inputs import as_program
from autolossgen.training.loss_gradients import stack_losses, static_logit_grads, traced_logit_grads

pytestmark = pytest.mark.slow

BCE = "-(label * log(pred) + (1 - label) * log(1 - pred))"


@cache
def stacked(formulas, bounds):
    """Returns the gradients of formulas and the formulas as data."""
    programs = [as_program(formula) for formula in formulas]
    slopes = traced_logit_grads(sorted({op for program in programs for op in program.op.tolist()}))
    return slopes, stack_losses(programs, [bounds] * len(programs))


def checked(*formulas, bounds=DEFAULT_BOUNDS, share=0.6):
    """Checks formulas together; returns a list of (right, uses_label, sound)."""
    return list(zip(*check_gradients(*stacked(formulas, bounds), share=share), strict=True))


@pytest.mark.parametrize("smoothing", [1e-6, 0.1])
def test_the_named_losses_are_sound(smoothing):
    losses = [named_loss(name, smoothing=smoothing) for name in PAPER_LOSSES]
    of_losses = stack_losses([as_program("pred")] * len(losses), [DEFAULT_BOUNDS] * len(losses))
    slopes = static_logit_grads(losses)
    validity = check_gradients(lambda losses, *where: slopes(losses.scale, *where), of_losses)
    assert validity.sound.all()
    assert validity.uses_label.all()


def test_unsound_losses():
    expected = {
        "-square(label - pred)": (0.0, True),
        "square(pred)": (0.5, False),  # always down: right for label 0
        "square(pred) + label": (0.5, False),
        "label * square(1 - pred)": (0.5, True),  # label 0 teaches nothing
        "1 - label": (0.0, False),
        "square(pred - 0.5)": (0.5, False),
    }
    for (right, uses_label, sound), (formula, wanted) in zip(
        checked(*expected), expected.items(), strict=True
    ):
        assert (pytest.approx(right, abs=1e-3), uses_label) == wanted, formula
        assert not sound


def test_sound_is_right_on_more_than_60_percent():
    """The loss pulls label 0 to ``turn``, so it is right above it, and always at label 1."""
    turns = {0.2: True, 0.75: True, 0.85: False}
    formula = "(1 - label) * square(pred - {}) + label * square(1 - pred)"
    found = checked(*map(formula.format, turns))
    for (turn, is_sound), (right, _, sound) in zip(turns.items(), found, strict=True):
        assert right == pytest.approx(0.5 + 0.5 * (1 - turn), abs=2e-3)
        assert sound == is_sound


def test_the_share_asked_for_must_be_exceeded():
    formulas = ("label * square(1 - pred)", "square(pred)")  # half of it right; without the label
    for share, expected in {0.4: [True, False], 0.49: [True, False], 0.5: [False, False]}.items():
        assert [sound for _, _, sound in checked(*formulas, share=share)] == expected


def test_the_size_of_a_loss_does_not_matter():
    formulas = (BCE, f"-({BCE})", "square(pred)")
    scaled = [f"{scale} * ({f})" for scale in (1e-6, 1e-3, 1, 1e3, 1e6) for f in formulas]
    found = np.asarray(checked(*scaled, bounds=UNBOUNDED)).reshape(5, len(formulas), 3)
    np.testing.assert_allclose(found[..., 0], found[[2], :, 0].repeat(5, 0), atol=2e-3)
    np.testing.assert_array_equal(found[..., 1:], found[[2], :, 1:].repeat(5, 0))
    assert found[2, :, 2].tolist() == [True, False, False]


def test_the_executed_loss_is_checked_not_its_text():
    assert checked(BCE)[0][2]
    [(right, _, sound)] = checked(BCE, bounds=PAPER_BOUNDS)  # minus is a constant there
    assert not sound
    assert right == 0


def test_a_gradient_that_is_not_finite_is_not_right():
    def broken(losses, logits, labels):
        return jnp.where(logits > 0, jnp.nan, 1.0) * (1 - 2 * labels)

    some = stack_losses([as_program("pred")] * 2, [DEFAULT_BOUNDS] * 2)
    np.testing.assert_allclose(check_gradients(broken, some).right, 0.5, atol=1e-3)
