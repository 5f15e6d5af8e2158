"""docs/data.md names every set, key, split and feature, and its code runs."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from autolossgen import data
from autolossgen.data.features import CLOCK
from autolossgen.data.registry import ORIGINS
from autolossgen.data.splitting import REWARD_SPLITS, SPLITS
from autolossgen.data.stream import write_stream

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
KEYS = {
    key
    for builder in (data.load, data.csv, data.streamed, data.synthetic)
    for key in inspect.signature(builder).parameters
}
FEATURES = {f.name for origin in ORIGINS.values() for file in origin.sides for f in file.features}


@pytest.mark.parametrize(
    "word", sorted({*ORIGINS, *KEYS, *FEATURES, *CLOCK, *SPLITS, *REWARD_SPLITS})
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
