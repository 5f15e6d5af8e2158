"""What filter and check say of pairwise losses, from one or three negatives."""

from functools import cache

import jax
import numpy as np
import pytest

from autolossgen import DEFAULT_BOUNDS, PAIRWISE
from autolossgen.configs import base
from autolossgen.evaluation.gradient_check import check_gradients
from autolossgen.language.inputs import as_program
from autolossgen.language.named_losses import PAIRWISE_LOSSES, named_loss
from autolossgen.search.screening import (
    FILTERS,
    Verdict,
    are_twins,
    compute_directions,
    is_label_blind,
    pairwise_probes,
    split_by_label,
)
from autolossgen.training.loss_gradients import stack_losses
from autolossgen.training.tasks import make_ranking_task

pytestmark = pytest.mark.slow

CONFIG = base.get_config()
NEGATIVES = (1, 3)


def graded(negatives):
    return FILTERS["graded"](**CONFIG.filter.graded, group=1 + negatives)


def losses_of(formulas):
    programs = [as_program(formula, family=PAIRWISE) for formula in formulas]
    operators = sorted({int(op) for program in programs for op in program.op})
    return operators, stack_losses(programs, [DEFAULT_BOUNDS] * len(programs))


@cache
def slopes_of(formulas, negatives):
    """Returns the slopes [J, P] of formulas at the probes."""
    operators, losses = losses_of(formulas)
    probe = graded(negatives).probe
    logits = np.broadcast_to(probe.logit, (len(formulas), probe.logit.size))
    slopes = jax.jit(make_ranking_task(negatives).traced_logit_grads(operators))
    return np.asarray(slopes(losses, logits, np.asarray(probe.label)))


@cache
def screen(negatives):
    return jax.jit(graded(negatives).screen)


VERDICTS = {
    "softplus(-diff)": Verdict.TRAINED,
    "1000 * softplus(-diff)": Verdict.TRAINED,
    "relu(1 - diff)": Verdict.TRAINED,
    "softplus(logsumexp_neg(-diff))": Verdict.TRAINED,
    "softplus(-pos) + sum_neg(softplus(neg))": Verdict.TRAINED,
    "softplus(diff)": Verdict.WRONG_DIRECTION,
    "softplus(-pos)": Verdict.WRONG_DIRECTION,  # teaches nothing of negatives
    "softplus(neg) + softplus(pos)": Verdict.WRONG_DIRECTION,
    "pos + neg": Verdict.LABEL_BLIND,  # as all of the negatives
    "pos + sum_neg(neg)": Verdict.LABEL_BLIND,  # as each of them
    "1 + 1": Verdict.NO_GRADIENT,
    "0.00001 * softplus(-diff)": Verdict.NO_GRADIENT,
}


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_each_verdict_names_what_is_wrong(negatives):
    screening = screen(negatives)(slopes_of((*VERDICTS,), negatives))
    found = [Verdict(int(verdict)) for verdict in screening.verdict]
    assert dict(zip(VERDICTS, found, strict=True)) == VERDICTS


def test_one_probe_that_is_not_finite_is_enough():
    slopes = slopes_of((*VERDICTS,), 3).copy()
    slopes[0, 5] = np.nan
    assert np.asarray(screen(3)(slopes).verdict)[0] == Verdict.NOT_FINITE


def test_each_side_of_a_group_has_a_direction():
    slopes = np.float32([-1, 1, 1, -1, 1, 0])  # positive, its two negatives; and again
    blind = np.float32([[2, 1, 1, -1, -0.5, -0.5], [1, 1, 1, -2, -2, -2]])
    low, high = split_by_label(slopes, 3)
    np.testing.assert_array_equal(low, [1, 1, 1, 0])
    np.testing.assert_array_equal(high, [-1, -1])

    @jax.jit
    def judge(slopes):
        return compute_directions(slopes, group=3), is_label_blind(slopes, 3)

    directions, is_blind = judge(np.stack([slopes, -slopes, *blind]))
    assert directions[:2].tolist() == [[3 / 4, 1], [-3 / 4, -1]]
    assert is_blind.tolist() == [False, False, True, True]


def test_twins_are_the_same_ranking_loss():
    filter_ = graded(3)
    formulas = ("softplus(-diff)", "softplus(neg - pos)", "7 * softplus(-diff)", "relu(1 - diff)")

    @jax.jit
    def compare(slopes):
        prints = filter_.fingerprint(slopes)
        return are_twins(prints, prints, tolerance=filter_.tolerance)

    same = compare(slopes_of(formulas, 3))
    np.testing.assert_array_equal(same[0], [True, True, True, False])


@pytest.mark.parametrize("group", [2, 4, 9])
def test_pairs_are_groups_with_the_positive_first(group):
    probe = pairwise_probes(20, group)
    logit, label = probe.logit.reshape(10, group), probe.label.reshape(10, group)
    np.testing.assert_array_equal(label, np.eye(1, group).repeat(10, 0))
    ahead = logit[:, 0] - logit[:, 1:].mean(1)
    np.testing.assert_allclose(ahead, np.linspace(-5, 3, 10), atol=1e-5)
    assert np.unique(logit[:, 0]).size == 10


@pytest.mark.parametrize("points", [2, 7])
def test_too_few_or_odd_probes_are_refused(points):
    with pytest.raises(ValueError, match=f"at least 4, got {points}"):
        pairwise_probes(points, 3)


def test_the_papers_filter_is_pointwise():
    with pytest.raises(ValueError, match="filter 'paper' is for pointwise losses"):
        FILTERS["paper"](group=4)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_the_named_pairwise_losses_are_sound(negatives):
    named = [named_loss(name) for name in PAIRWISE_LOSSES]
    losses = [loss for loss in named if not loss.reads_threshold]  # lanes of rows have none
    of_losses = stack_losses(
        [as_program("pos", family=PAIRWISE)] * len(losses), [DEFAULT_BOUNDS] * len(losses)
    )
    slopes = make_ranking_task(negatives).static_logit_grads(losses)
    found = check_gradients(
        lambda each, *at: slopes(each.scale, *at), of_losses, group=1 + negatives
    )
    assert found.sound.all()


def test_unsound_pairwise_losses():
    expected = {
        "softplus(diff)": (0.0, True),
        "softplus(-pos)": (0.5, True),
        "pos + sum_neg(neg)": (0.5, False),
        "1 + 1": (0.0, False),
    }
    operators, losses = losses_of(expected)
    found = check_gradients(make_ranking_task(3).traced_logit_grads(operators), losses, group=4)
    for j, (right, uses_label) in enumerate(expected.values()):
        assert found.right[j] == pytest.approx(right, abs=1e-3)
        assert found.uses_label[j] == uses_label
    assert not found.sound.any()
