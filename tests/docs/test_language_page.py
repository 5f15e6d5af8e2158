"""docs/language.md: its generated parts are those of the code, and its code runs."""

import os
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from autolossgen import PAIRWISE_LOSSES, POINTWISE_LOSSES
from tests.helpers.run_server import STRICT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
NAMES = [*POINTWISE_LOSSES, *PAIRWISE_LOSSES]

PRELUDE = """
import jax.numpy as jnp
logits, labels, w = jnp.array([0.5, -1.0]), jnp.array([1.0, 0.0]), 2.0
mask = jnp.array([True, False])
pos, neg, pred, label = logits, jnp.ones((2, 3)), labels, labels
tokens = jnp.array([3, 0, 0])
"""


def test_generated_parts_are_up_to_date():
    make = runpy.run_path(str(ROOT / "docs" / "make_language.py"))
    assert make["render"](PAGE) == PAGE, "run python docs/make_language.py"


@pytest.mark.parametrize("name", NAMES)
def test_every_named_loss_has_a_plot(name):
    assert f"![{name}](losses/{name}.svg)" in PAGE
    path = ROOT / "docs" / "losses" / f"{name}.svg"
    assert path.stat().st_size < 3_000
    root = ElementTree.parse(path).getroot()
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == (2 if name in POINTWISE_LOSSES else 1)
    assert all(len(line.get("points").split()) > 1 for line in lines)


def test_there_is_no_plot_without_its_loss():
    assert {path.stem for path in (ROOT / "docs" / "losses").iterdir()} == set(NAMES)


def test_the_code_of_the_page_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    blocks = [block for block in blocks if "import torch" not in block]
    assert len(blocks) == 5
    done = subprocess.run(
        [sys.executable, *STRICT, "-c", PRELUDE + "\n".join(blocks)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
