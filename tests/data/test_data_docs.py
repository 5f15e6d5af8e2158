"""docs/data.md names every set, key, split and feature, and its code runs."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from autolossgen import data
from autolossgen.data.csv_files import load_csv
from autolossgen.data.features import CLOCK_FIELDS
from autolossgen.data.generator import make_synthetic
from autolossgen.data.loading import load
from autolossgen.data.registry import DATA_SETS
from autolossgen.data.splitting import REWARD_SPLITS, SPLITS
from autolossgen.data.stream import load_stream, write_stream

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
KEYS = {
    key
    for builder in (load, load_csv, load_stream, make_synthetic)
    for key in inspect.signature(builder).parameters
}
FEATURES = {f.name for origin in DATA_SETS.values() for file in origin.sides for f in file.features}


@pytest.mark.parametrize(
    "word", sorted({*DATA_SETS, *KEYS, *FEATURES, *CLOCK_FIELDS, *SPLITS, *REWARD_SPLITS})
)
def test_the_page_names(word):
    assert f"`{word}`" in TEXT


def test_the_example_of_streams_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user = np.arange(200_000)
    write_stream("interactions.arrow", [data.Interactions({"user": user, "item": user}, user % 2)])
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    scope = {}
    exec(code.replace("steps=256", "steps=2"), scope)
    assert scope["batches"].label.shape == (2, 4_096)
    assert scope["validation"].label.shape == (100_000,)
