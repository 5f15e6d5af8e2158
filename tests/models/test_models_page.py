"""docs/models.md: its table is that of the code, and its code runs."""

import ast
import dataclasses
import re
import sys
from pathlib import Path

import flax.linen as nn
import pytest

from autolossgen import models

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip(" `"): [cell.strip() for cell in cells]
    for cells in re.findall(r"^\|" + r"([^|\n]*)\|" * 6 + "$", PAGE, re.MULTILINE)
    if "`" in cells[0] and cells[0].strip() != "`model.name`"
}


def test_every_model_has_its_row():
    assert [*ROWS] == [*models.MODELS, "package.module:Class"]


@pytest.mark.parametrize("name", models.MODELS)
def test_a_row_says_what_the_code_does(name):
    cls, (_, _, reads, _, options, source) = models.MODELS[name], ROWS[name]
    own = {field.name: field.default for field in dataclasses.fields(cls)}
    own = {key: own[key] for key in own.keys() - {"parent", "name", "of_item"}}
    said = dict(pair.split("=", 1) for pair in re.findall(r"`(\w+=[^`]*)`", options))
    assert {key: ast.literal_eval(value) for key, value in said.items()} == own
    assert reads == " and ".join(getattr(cls, "reads", ["everything"])).replace(" and ", ", ")
    module = sys.modules[cls.__module__]
    cited = re.search(r"\[((?:doi|arXiv):[^\]]*)\]", source)[1]
    assert cited in module.__doc__


def test_the_page_has_the_learning_rates_of_the_code():
    said = dict(re.findall(r"^\| `([\w.:]+)` \| ([\d., ]+) \|$", PAGE, re.MULTILINE))
    rates = {name: models.get_learning_rates(name) for name in models.MODELS}
    assert {name: ast.literal_eval(f"({text},)") for name, text in said.items()} == rates


def test_the_code_of_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    scope = {"__name__": "my_models"}
    exec("\n".join(blocks), scope)
    assert issubclass(scope["Metric"], nn.Module)
    assert scope["logits"].shape == (5,)
