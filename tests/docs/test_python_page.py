"""docs/python.md and the example of find_loss run, with keys that keep them small.

The example searches. On the page, what is asked of ratings is read and checked; the run is then a
copy of the example's.
"""

import re
import runpy
import shutil
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import polars as pl
import pytest

import autolossgen
from autolossgen.pipeline import call
from tests.helpers.own_frames import TINY_RANKING, TINY_SEARCH, make_ratings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "find_a_loss.py"


@pytest.fixture(scope="module")
def small(in_process):
    """Lets find_loss run with the programs of other tests."""
    find = autolossgen.find_loss

    def find_small(data, **keywords):
        tiny = dict(TINY_SEARCH if "rating" in keywords else TINY_RANKING)
        model = {**keywords.pop("model", {}), **tiny.pop("model")}
        return find(data, **{**tiny, **keywords, "model": model})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autolossgen, "find_loss", find_small, raising=False)
        yield


@pytest.fixture(scope="module")
def example(small, tmp_path_factory):
    """What the example defines, and prints."""
    folder, out = tmp_path_factory.mktemp("example"), StringIO()
    with chdir(folder), redirect_stdout(out):
        scope = runpy.run_path(str(EXAMPLE))
    scope["run"] = autolossgen.load_run(folder / "runs" / "csv-smoke")
    return scope, out.getvalue()


@pytest.fixture
def copying(example, tmp_path, monkeypatch):
    """An empty folder, in which a search on ratings ends at once."""
    monkeypatch.chdir(tmp_path)
    carry_out = call.carry_out

    def copy(settings, folder, *rest):
        if settings.data.label:
            shutil.copytree(example[0]["run"].folder, folder, dirs_exist_ok=True)
        else:
            carry_out(settings, folder, *rest)

    monkeypatch.setattr(call, "carry_out", copy)
    return tmp_path


def test_the_blocks_of_the_page_run_one_after_the_other(copying):
    numbers = {name: k for k, name in enumerate(sorted(make_ratings()["reader"].unique()))}
    frame = make_ratings().select(
        u=pl.col("reader").replace_strict(numbers), i="book", r=pl.col("stars").cast(int)
    )
    frame.write_csv(copying / "ratings.csv")
    frame.filter(pl.col("r") > 3).select("u", "i").write_csv(copying / "likes.csv")
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, scope)
    assert scope["run"].recommend(12, k=3).height == 3
    assert scope["likes"].recommend(7).height == 10
    assert {path.name for path in (copying / "runs").iterdir()} == {
        "csv-smoke",
        "topk-smoke",
        "longer",
    }


def test_the_example_is_ten_lines_and_recommends(example):
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] not in '"#if']
    assert len(lines) == 9
    scope, out = example
    found = scope["run"].recommend([3, 14], k=5)
    assert found["user"].to_list() == [3] * 5 + [14] * 5
    assert set(found["item"]) <= set(scope["books"])
    assert scope["run"].best.formula in out
