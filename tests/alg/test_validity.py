"""The check of found losses looks at the gradient of what is executed."""

import jax.numpy as jnp
import pytest

from alg import NAMED, PAPER, SIGNED, UNBOUNDED, build_loss, named_loss
from alg.validity import check

BCE = "-(label * log(pred) + (1 - label) * log(1 - pred))"


@pytest.mark.parametrize("smoothing", [1e-6, 0.1])
@pytest.mark.parametrize("name", NAMED)
def test_the_usual_losses_are_sound(name, smoothing):
    validity = check(named_loss(name, smoothing=smoothing))
    assert validity.sound
    assert validity.uses_label


@pytest.mark.parametrize(
    ("formula", "right", "uses_label"),
    [
        ("-square(label - pred)", 0.0, True),
        ("square(pred)", 0.5, False),  # always down: right for label 0
        ("square(pred) + label", 0.5, False),
        ("label * square(1 - pred)", 0.5, True),  # label 0 teaches nothing
        ("1 - label", 0.0, False),
        ("square(pred - 0.5)", 0.5, False),
    ],
)
def test_unsound_losses(formula, right, uses_label):
    validity = check(build_loss(formula))
    assert validity.right == pytest.approx(right, abs=1e-3)
    assert validity.uses_label == uses_label
    assert not validity.sound


@pytest.mark.parametrize(("turn", "sound"), [(0.2, True), (0.75, True), (0.85, False)])
def test_sound_is_right_on_more_than_60_percent(turn, sound):
    """The loss pulls label 0 to ``turn``, so it is right above it, and always at label 1."""
    formula = "(1 - label) * square(pred - turn) + label * square(1 - pred)"
    validity = check(build_loss(formula, turn=turn))
    assert validity.right == pytest.approx(0.5 + 0.5 * (1 - turn), abs=2e-3)
    assert validity.sound == sound


def test_the_share_asked_for_must_be_exceeded():
    half = build_loss("label * square(1 - pred)")
    assert check(half, share=0.49).sound
    assert not check(half, share=0.5).sound
    assert not check(build_loss("square(pred)"), share=0.4).sound  # without the label, never


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_the_size_of_a_loss_does_not_matter(scale):
    for formula in (BCE, f"-({BCE})", "square(pred)"):
        one = check(build_loss(formula, bounds=UNBOUNDED))
        other = check(build_loss(f"scale * ({formula})", bounds=UNBOUNDED, scale=scale))
        assert one._replace(right=0) == other._replace(right=0)
        assert one.right == pytest.approx(other.right, abs=2e-3)


def test_the_executed_loss_is_checked_not_its_text():
    assert check(build_loss(BCE, bounds=SIGNED)).sound
    clipped = check(build_loss(BCE, bounds=PAPER))  # minus is a constant there
    assert not clipped.sound
    assert clipped.right == 0


def test_a_gradient_that_is_not_finite_is_not_right():
    def broken(scores, labels, *, reduce_fn):
        return jnp.where(scores > 0, jnp.nan, 1.0) * (scores - 2 * labels * scores)

    assert check(broken).right == pytest.approx(0.5, abs=1e-3)
