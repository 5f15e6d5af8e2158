"""What of a hall of fame is tested: sound losses, no baselines, the best of each kind."""

import csv
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen.configs import base, stream
from autolossgen.configs import csv as own
from autolossgen.language.grammar import encode_tokens
from autolossgen.pipeline.shortlist import check_hall, choose_promotion_splits, promote_losses
from autolossgen.search.hall_of_fame import HallOfFame, init_hall
from autolossgen.search.log_record import make_program
from autolossgen.training.loss_gradients import stack_losses
from tests.helpers.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

LONG = "label pred sub label pred sub mul"
MSE, OTHER, WRONG = "label pred sub square", "label pred sub square square", "pred square"


@pytest.fixture(scope="module")
def phase():
    return make_tiny_run().shortlist


def hall_of(phase, *losses, gains):
    """Returns the hall of fame that a search would leave that found these losses."""
    length, names = phase.space.length, phase.space.vocabulary
    tokens = np.zeros((len(losses) + 1, length), np.int32)  # the last row is empty
    for row, loss in zip(tokens, losses, strict=False):
        numbers = encode_tokens(loss.split(), names)
        row[: len(numbers)] = numbers
    made = [make_program(phase.space, phase.task.family, row) for row in tokens[:-1]]
    probe = phase.filter.probe
    logits = jnp.broadcast_to(probe.logit, (len(made), len(probe.logit)))
    slopes = phase.logit_grads(
        stack_losses(made, [phase.space.bounds] * len(made)), logits, probe.label
    )
    fingerprints = jnp.pad(
        phase.filter.fingerprint(slopes), ((0, 1), (0, 0)), constant_values=jnp.nan
    )
    gains = jnp.array([*gains, -jnp.inf])
    return HallOfFame(tokens, fingerprints, gains, gains + 0.5, jnp.ones(len(gains)))


def rows(folder):
    with (folder / "hall_of_fame.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_baseline_and_a_wrong_loss_are_named_and_not_tested(phase, tmp_path):
    hall = hall_of(phase, MSE, OTHER, WRONG, gains=(0.03, 0.02, 0.01))
    checked = check_hall(phase, hall, tmp_path)
    assert [each.rank for each in checked.sound] == [2]
    written = rows(tmp_path)
    assert [row["twin"] for row in written] == ["mse", ""]
    assert [row["front"] for row in written] == ["true", "false"]
    assert [row["promoted"] for row in written] == ["", ""]
    assert [row["outcome"] for row in written] == ["same as mse", "not promoted yet"]


def test_a_shorter_loss_is_ahead_of_one_that_gains_as_much(phase, tmp_path):
    hall = hall_of(phase, OTHER, MSE, LONG, gains=(0.02005, 0.02, 0.01998))
    check_hall(phase, hall, tmp_path)
    written = rows(tmp_path)
    assert [row["formula"] for row in written] == [
        "square(label - pred)",
        "square(label - pred)",  # LONG in its simplified form
        "square(square(label - pred))",
    ]
    scores = [float(row["score"]) for row in written]
    assert scores == pytest.approx([0.0196, 0.01958, 0.01955])


def test_nothing_sound_leaves_nothing_to_test(phase, tmp_path):
    checked = check_hall(phase, hall_of(phase, WRONG, gains=(0.01,)), tmp_path)
    assert promote_losses(phase, checked, tmp_path) == []
    assert rows(tmp_path) == []


def test_an_empty_hall_of_fame_is_written_too(phase, tmp_path):
    hall = init_hall(3, phase.space.length, len(phase.filter.probe.logit))
    assert check_hall(phase, hall, tmp_path).sound == []
    assert rows(tmp_path) == []


@pytest.mark.parametrize(
    ("config", "of_ranks", "changes", "names"),
    [
        (base, False, {}, ["reward", "valid"]),
        (own, False, {"data.reward_split": "valid"}, ["valid"]),
        (stream, False, {}, ["reward", "valid"]),
        (base, True, {}, ["reward"]),
        (base, True, {"implicit.test_candidates": 200}, ["reward", "valid"]),
    ],
)
def test_promotion_judges_by_splits_that_compare(config, of_ranks, changes, names):
    config = config.get_config()
    config.update_from_flattened_dict(changes)
    task = SimpleNamespace(metric=SimpleNamespace(of_ranks=of_ranks))
    splits = SimpleNamespace(train="train", reward="reward", valid="valid", test="test")
    assert (
        choose_promotion_splits(SimpleNamespace(config=config, task=task, splits=splits)) == names
    )
