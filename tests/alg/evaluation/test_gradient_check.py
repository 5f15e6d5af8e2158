"""The check of found losses looks at the gradient of what is executed."""

import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import DEFAULT_BOUNDS, PAPER_BOUNDS, PAPER_LOSSES, UNBOUNDED, named_loss
from autolossgen.evaluation.gradient_check import check_gradients
from autolossgen.language.inputs import as_program
from autolossgen.training.loss_gradients import stack_losses, static_logit_grads, traced_logit_grads

pytestmark = pytest.mark.slow

BCE = "-(label * log(pred) + (1 - label) * log(1 - pred))"


def checked(*formulas, bounds=DEFAULT_BOUNDS, share=0.6, **constants):
    """Checks formulas together; returns a list of (right, uses_label, sound)."""
    programs = [as_program(formula, **constants) for formula in formulas]
    slopes = traced_logit_grads(sorted({op for program in programs for op in program.op.tolist()}))
    found = check_gradients(slopes, stack_losses(programs, [bounds] * len(programs)), share=share)
    return list(zip(*found, strict=True))


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


@pytest.mark.parametrize(("turn", "is_sound"), [(0.2, True), (0.75, True), (0.85, False)])
def test_sound_is_right_on_more_than_60_percent(turn, is_sound):
    """The loss pulls label 0 to ``turn``, so it is right above it, and always at label 1."""
    formula = "(1 - label) * square(pred - turn) + label * square(1 - pred)"
    [(right, _, sound)] = checked(formula, turn=turn)
    assert right == pytest.approx(0.5 + 0.5 * (1 - turn), abs=2e-3)
    assert sound == is_sound


def test_the_share_asked_for_must_be_exceeded():
    half = "label * square(1 - pred)"
    assert checked(half, share=0.49)[0][2]
    assert not checked(half, share=0.5)[0][2]
    assert not checked("square(pred)", share=0.4)[0][2]  # without the label, never


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_the_size_of_a_loss_does_not_matter(scale):
    formulas = (BCE, f"-({BCE})", "square(pred)")
    ones = checked(*formulas, bounds=UNBOUNDED)
    scaled = (f"scale * ({formula})" for formula in formulas)
    for one, other in zip(ones, checked(*scaled, bounds=UNBOUNDED, scale=scale), strict=True):
        assert one[1:] == other[1:]
        assert one[0] == pytest.approx(other[0], abs=2e-3)


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
