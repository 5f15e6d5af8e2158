"""The notebook runs from top to bottom, with keys that keep its search small."""

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.own_frames import TINY_SEARCH
from tests.helpers.run_server import ROOT

nbclient = pytest.importorskip("nbclient", reason="runs the notebook")
nbformat = pytest.importorskip("nbformat", reason="reads the notebook")

PATH = Path(ROOT) / "examples" / "colab.ipynb"
SMALL = """
import autolossgen
whole = autolossgen.find_loss
tiny = {tiny!r}
autolossgen.find_loss = lambda data, **keywords: whole(data, **{{**keywords, **tiny}})
"""


def read():
    return nbformat.read(PATH, as_version=4)


def code_of(cell):
    return cell.source if cell.cell_type == "code" else ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_runs_from_top_to_bottom(environment, monkeypatch, tmp_path):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = read()
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SMALL.format(tiny=TINY_SEARCH)))
    nbclient.NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    said = "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert re.search(r"Use this loss: \S+", said)
    assert "import torch" in said
    assert (tmp_path / "runs" / "books" / "report.html").exists()


def test_one_cell_sets_up_and_says_on_what_it_was_run():
    cells = read().cells
    (setup,) = [cell for cell in cells if "pip" in code_of(cell)]
    for word in ("SOURCE", "AUTOLOSSGEN_CACHE", "jax_default_matmul_precision"):
        assert word in setup.source
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "has not been run on Colab's" in text
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert outputs, "the outputs that the text speaks of"
    assert not [output for output in outputs if output.output_type == "error"]


def test_its_code_is_python():
    for cell in read().cells:
        ast.parse(code_of(cell))
