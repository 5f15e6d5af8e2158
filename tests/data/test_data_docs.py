"""docs/data.md: its tables are those of the code, and its code runs."""

import inspect
import re
from pathlib import Path

import numpy as np

from autolossgen import data
from autolossgen.data.csv_files import load_csv
from autolossgen.data.features import CLOCK_FIELDS
from autolossgen.data.generator import make_synthetic
from autolossgen.data.loading import OTHER_BUILDERS, load
from autolossgen.data.registry import DATA_SETS
from autolossgen.data.splitting import REWARD_SPLITS, SPLITS
from autolossgen.data.stream import load_stream, write_stream

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
LOADERS = {"named": load, "csv": load_csv, "stream": load_stream, "synthetic": make_synthetic}


def read_table(title):
    """Returns the first table below a heading: the cells of each row."""
    section = TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def quoted(cell):
    return re.findall(r"`([\w.]+)`", cell)


def test_the_table_of_sets_is_that_of_the_code():
    names = [quoted(row[0])[0] for row in read_table("The sets")]
    assert names == [*DATA_SETS, *OTHER_BUILDERS]


def test_the_table_of_keys_says_which_set_takes_which():
    stated = {name: {"name"} for name in LOADERS}
    for keys, owners, *_ in read_table("Keys of `config.data`"):
        named = {*quoted(owners)}
        for owner in LOADERS.keys() - named if owners.startswith("all") else named:
            stated[owner] |= {*quoted(keys)}
    taken = {name: {"name", *inspect.signature(f).parameters} for name, f in LOADERS.items()}
    assert stated == taken


def test_the_tables_of_splits_and_features_are_those_of_the_code():
    assert [quoted(row[0])[0] for row in read_table("Splits")] == [*SPLITS]
    assert all(f"`{name}`" in TEXT for name in REWARD_SPLITS)
    files = [file for data_set in DATA_SETS.values() for file in data_set.sides]
    known = {feature.name for file in files for feature in file.features} | {*CLOCK_FIELDS}
    stated = [name for row in read_table("Features") for name in quoted(row[0])]
    assert {name for name in stated if "." not in name} == known


def test_the_example_of_streams_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user = np.arange(200_000)
    write_stream("interactions.arrow", [data.Interactions({"user": user, "item": user}, user % 2)])
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    scope = {}
    exec(code.replace("steps=256", "steps=2"), scope)
    assert scope["batches"].label.shape == (2, 4_096)
    assert scope["validation"].label.shape == (100_000,)
