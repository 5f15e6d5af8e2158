"""The pages show what runs wrote: no table differs from its JSON."""

from pathlib import Path

from experiments.results_tables import make_tables

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"


def test_the_pages_show_the_results_that_runs_wrote():
    files = [ROOT / "docs" / "results.md", *sorted(RESULTS.glob("*.md"))]
    pages = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for title, table in make_tables():
        assert table in pages, title
