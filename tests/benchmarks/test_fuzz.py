"""A sample of benchmarks/fuzz.py: damaged input is a success or a readable error."""

import random

import pytest

from autolossgen.configs.command_line import UsageError
from autolossgen.files import DamagedFile
from autolossgen.pipeline.finished.recommender import RecommendError
from autolossgen.search.checkpoints import CheckpointError
from benchmarks import fuzz

CHECKS = {
    "formulas": (lambda: fuzz.check_formula, (ValueError,), 150),
    "flags": (lambda: fuzz.check_flags, (UsageError,), 20),
    "recommenders": (fuzz.make_recommender_check, (RecommendError,), 40),
    "checkpoints": (fuzz.make_checkpoint_check, (CheckpointError, DamagedFile), 60),
}


@pytest.mark.parametrize("name", CHECKS)
def test_damaged_input_is_a_success_or_a_readable_error(name):
    make, documented, count = CHECKS[name]
    check = make()
    for number in range(count):
        outcome, _ = fuzz.try_one(check, documented, random.Random(number))
        assert outcome in ("success", "readable error"), f"input {number}: {outcome}"
