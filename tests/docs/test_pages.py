"""README and docs: links resolve, code runs, and what they name is there."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autolossgen.configs import base, csv, stream, synthetic, topk
from autolossgen.configs.old_keys import REMOVED, RENAMED
from tests.helpers.run_server import STRICT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*s/README.md")])
}
# Others have tests of their own.
WITH_CODE = ["README.md", "docs/quick_start.md", "docs/concepts.md", "CONTRIBUTING.md"]
CODE = r"```.*?```"


def without_code(text):
    return re.sub(CODE, "", text, flags=re.DOTALL)


def anchors(text):
    """Returns the anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    for link in re.findall(r"\]\(([^()\s]+)\)", without_code(PAGES[page])):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            name = target.resolve().relative_to(ROOT.resolve()).as_posix()
            assert anchor in anchors(PAGES[name]), link


def test_the_code_of_the_pages_runs(tmp_path):
    blocks = [
        block
        for page in WITH_CODE
        for block in re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)
    ]
    assert len(blocks) >= len(WITH_CODE)
    done = subprocess.run(
        [sys.executable, *STRICT, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_readme_is_short():
    assert len(PAGES["README.md"].split()) <= 600


def test_every_page_of_docs_is_in_the_index():
    index = PAGES["docs/index.md"]
    pages = {path.removeprefix("docs/") for path in PAGES if path.startswith("docs/")}
    assert pages - {"index.md"} == set(re.findall(r"\]\(([\w/]+\.md)\)", index))


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/architecture.md",
        "docs/comparison.md",
        "docs/concepts.md",
        "docs/paper.md",
        "docs/tracking.md",
    ],
)
def test_the_files_that_a_page_names_are_there(page):
    named = re.findall(r"`([\w/]+/[\w.]+\.(?:py|md|cfg))`", without_code(PAGES[page]))
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def check_named(file, names):
    """Checks that a file of the repository defines names, or that it is there."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for name in names:
        if name.endswith(".py"):
            text = (ROOT / name).read_text(encoding="utf-8")
            continue
        assert re.search(rf"^ *(def|class) {name}\b|^ *{name}\b.*[:=]", text, re.MULTILINE), (
            f"{name} is not in {file}"
        )


def test_the_answers_of_the_architecture_page_are_in_the_code():
    rows = re.findall(r"^\| \d+ \|(.*)\|$", PAGES["docs/architecture.md"], re.MULTILINE)
    assert len(rows) == 15
    for row in rows:
        check_named(*split_names(row.split(" | ")[1]))


def test_the_map_from_the_paper_leads_to_the_code():
    rows = re.findall(r"^\| [^|]+ \| ([^|]*\.py[^|]*) \|", PAGES["docs/paper.md"], re.MULTILINE)
    assert len(rows) == 19
    for cell in rows:
        for part in cell.split(", "):
            check_named(*split_names(part))


def split_names(cell):
    """Returns the file that a cell names, and the names in it."""
    file, *names = re.findall(r"`([^`]+)`", cell)
    return file, names


def test_the_picture_shows_the_losses_at_the_same_mean_slope():
    make = runpy.run_path(str(ROOT / "docs" / "make_curves.py"))
    losses = make["make_losses"]()
    assert [*losses] == ["BCE", "Focal", "found"]
    for loss in losses.values():
        curves = make["compute_curves"](loss)
        slopes = [np.abs(np.gradient(curve, make["LOGITS"])).mean() for curve in curves.values()]
        assert np.mean(slopes) == pytest.approx(0.5)
        assert min(curve.min() for curve in curves.values()) == 0


def test_the_readme_has_the_formula_of_the_picture():
    make = runpy.run_path(str(ROOT / "docs" / "make_curves.py"))
    assert make["FOUND"] in PAGES["README.md"]


def test_the_changelog_names_every_old_key():
    page = PAGES["CHANGELOG.md"]
    for old, new in RENAMED.items():
        assert f"| `{old}` | `{new}` |" in page, old
    for old, value in REMOVED.items():
        assert f"| `{old}` | `{value!r}` |" in page, old


def test_the_keys_that_pages_name_are_keys():
    configs = [module.get_config() for module in (base, csv, stream, synthetic, topk)]
    sections = {key.split(".")[0] for config in configs for key in (*config, *RENAMED)}
    for page, text in PAGES.items():
        if page == "CHANGELOG.md":
            continue  # names the keys of before, too
        flags = re.findall(r"--config\.([a-z_]+(?:\.[a-z_0-9]+)+)", text)
        named = re.findall(r"`(?:config\.)?([a-z_]+(?:\.[a-z_0-9]+)+)(?==[^`]*`|`)", text)
        named = [key for key in named if key.split(".")[0] in sections and not is_file(key)]
        for key in flags + named:
            assert any(has_key(config, key) for config in configs), f"{key} on {page}"


def is_file(name):
    return name.endswith((".csv", ".html", ".json", ".jsonl", ".md", ".py"))


def has_key(config, key):
    for name in key.split("."):
        if name not in config:
            return False
        config = config[name]
    return True
