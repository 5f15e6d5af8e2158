"""The examples, run as from an installed package, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.run_server import STRICT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_example(tmp_path):
    """Returns a function that runs an example in an empty folder and returns what it prints."""

    def run(name):
        command = [sys.executable, *STRICT, str(ROOT / "examples" / name)]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "JAX_PLATFORMS": "cpu"}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    return run


def test_train_flax_model(run_example):
    aucs = [
        float(found)
        for found in re.findall(r"test AUC (0\.\d+)", run_example("train_flax_model.py"))
    ]
    assert len(aucs) == 2
    assert min(aucs) > 0.75


def test_replace_a_loss(run_example):
    printed = run_example("replace_a_loss.py")
    losses = [float(found) for found in re.findall(r"loss (\d+\.\d+)", printed)]
    accuracies = [float(found) for found in re.findall(r"accuracy (0\.\d+)", printed)]
    assert losses[-1] < losses[0]
    assert accuracies[-1] > 0.9


def test_two_lines_are_marked_as_new():
    text = (ROOT / "examples" / "replace_a_loss.py").read_text(encoding="utf-8")
    assert text.count("# new") == 2
