"""docs/python.md and the example of find_loss run, with keys that keep them small."""

import re
import runpy
from pathlib import Path

import polars as pl
import pytest

import autolossgen
from tests.helpers.own_frames import TINY_RANKING, TINY_SEARCH, make_ratings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small(in_process, tmp_path, monkeypatch):
    """An empty folder, in which find_loss runs with the programs of other tests."""
    monkeypatch.chdir(tmp_path)
    find = autolossgen.find_loss

    def find_small(data, **keywords):
        tiny = dict(TINY_SEARCH if "rating" in keywords else TINY_RANKING)
        model = {**keywords.pop("model", {}), **tiny.pop("model")}
        return find(data, **{**tiny, **keywords, "model": model})

    monkeypatch.setattr(autolossgen, "find_loss", find_small, raising=False)
    return tmp_path


def test_the_blocks_of_the_page_run_one_after_the_other(small):
    numbers = {name: k for k, name in enumerate(sorted(make_ratings()["reader"].unique()))}
    frame = make_ratings().select(
        u=pl.col("reader").replace_strict(numbers), i="book", r=pl.col("stars").cast(int)
    )
    frame.write_csv(small / "ratings.csv")
    frame.filter(pl.col("r") > 3).select("u", "i").write_csv(small / "likes.csv")
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, scope)
    assert scope["run"].recommend(12, k=3).height == 3
    assert scope["likes"].recommend(7).height == 10
    assert {path.name for path in (small / "runs").iterdir()} == {
        "csv-smoke",
        "topk-smoke",
        "longer",
    }


def test_the_example_is_ten_lines_and_recommends(small, capsys):
    path = ROOT / "examples" / "find_a_loss.py"
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in '"#if']
    assert len(lines) == 9
    scope = runpy.run_path(str(path))
    found = scope["run"].recommend([3, 14], k=5)
    assert found["user"].to_list() == [3] * 5 + [14] * 5
    assert set(found["item"]) <= set(scope["books"])
    assert scope["run"].best.formula in capsys.readouterr().out
