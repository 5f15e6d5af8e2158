"""The HTML page: complete, self-contained, and not to be broken by what a run folder holds."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autolossgen import files
from autolossgen.report import write_report
from autolossgen.report.__main__ import main
from autolossgen.report.results import ReportError

HOSTILE = "<script>alert('$x_1$')</script> & \"quoted\""
VOID = {"meta", "wbr"}


class Outline(HTMLParser):
    """Checks that elements nest, and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def written(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    assert "script" not in outline.tags
    # Names of XML dialects are the only addresses, and nothing loads them.
    assert set(re.findall(r'[\w:]*="https?://[^"]*"', text)) <= {
        'xmlns="http://www.w3.org/2000/svg"',
        'xmlns:xlink="http://www.w3.org/1999/xlink"',
    }
    return text, outline


def test_full_run(run_folder):
    folder = run_folder()
    text, outline = written(folder)
    words = " ".join(outline.text)
    assert outline.tags.count("svg") == 3
    assert (
        "The best found loss on validation (found 1) is better than the best baseline (bce)"
        in words
    )
    assert "+0.0031 [+0.0021, +0.0041]" in words
    assert "16 generations, 8,192 candidates sampled, 512 trained, in 1:35." in words
    assert "search.generations" in words
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"#0[1-5]0[1-5]0[1-5]", text)  # no stand-in colour is left
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "hall_of_fame.csv",
        "metrics.jsonl",
        "report.html",
        "results.json",
    ]


def test_funnel_counts_what_is_left_after_each_stage(run_folder):
    text, _ = written(run_folder())
    table = text[text.index("What became of the candidates") :]
    left = re.findall(
        r'<tr><td>[^<]*</td>\n<td class="right">[^<]*</td>\n<td class="right">([^<]*)', table
    )
    # 8192 sampled, then minus 120, 5000, 1500, 700, 300 and 60; 200 of those trained did worse.
    assert left[:9] == ["8,192", "8,072", "3,072", "1,572", "872", "572", "512", "512", "312"]


def test_the_same_run_gives_the_same_page(run_folder):
    folder = run_folder()
    assert written(folder)[0] == written(folder)[0]


def test_hostile_text_is_shown_and_not_run(run_folder, loss_entry, hall_of_fame):
    losses = [loss_entry(HOSTILE, 0.8, found=True, formula=HOSTILE, model=HOSTILE, dataset=HOSTILE)]
    fame = [hall_of_fame[0] | {"formula": HOSTILE, "reward": HOSTILE}]
    results = {
        "losses": losses,
        "environment": {HOSTILE: HOSTILE},
        "search": {"funnel": {HOSTILE: 3}},
    }
    text, outline = written(run_folder(results, fame=fame, config={HOSTILE: {HOSTILE: HOSTILE}}))
    assert "<script" not in text
    assert HOSTILE in " ".join(outline.text)


@pytest.mark.parametrize(
    "changes",
    [
        [{}],
        [{"found": True}],
        [{"test": {"auc": None}}, {"test": None, "valid": None}],
        [{}, {"model": "NeuMF"}],
        [{"test": {"auc": {"mean": 0.8, "std": None, "ci95": None}}}],
        [{"seeds": None, "epochs": None, "learning_rate": None, "weight_decay": None}],
        [],
    ],
)
def test_each_cell_has_a_title_whatever_its_losses_lack(run_folder, loss_entry, changes):
    losses = [loss_entry("bce", 0.8, **change) for change in changes]
    text, _ = written(run_folder({"losses": losses}))
    for loss in losses:
        assert f"{loss['model']} on {loss['dataset']}" in text


def test_run_without_optional_files_says_so(run_folder, loss_entry):
    results = {"losses": [loss_entry("bce", 0.8)], "search": None, "environment": None}
    _, outline = written(run_folder(results, generations=None, fame=None, config=None))
    words = " ".join(outline.text)
    for said in (
        "it ran without a search",
        "No candidates were counted",
        "no readable hall_of_fame.csv",
        "no readable config.json",
        "does not say where the run took place",
    ):
        assert said in words


ROW = {"gain": "0.01", "complexity": "3", "front": "true"}


@pytest.mark.parametrize(
    ("fame", "drawn"),
    [
        ([ROW], True),
        ([ROW, ROW | {"gain": "0.005", "front": "false"}], True),
        ([ROW | {"front": ""}], True),  # of a run from before there was a front
        ([ROW | {"sound": "true"}, ROW | {"sound": "false"}], True),  # of version 0.1
        ([ROW | {"gain": "high"}, ROW | {"complexity": "nan"}], False),
    ],
)
def test_gain_is_drawn_over_complexity_where_both_are_known(run_folder, hall_of_fame, fame, drawn):
    rows = [hall_of_fame[0] | row for row in fame]
    text, _ = written(run_folder(fame=rows))
    assert ("over their complexity; ◆ the front" in text) == drawn
    assert ("No gain is known" in text) != drawn
    assert ('id="front-' in text) == drawn


def test_funnel_is_summed_from_the_generations_when_results_have_none(run_folder, generation):
    rows = [generation(i) for i in (1, 2)]
    _, outline = written(run_folder({"losses": []}, generations=rows))
    assert "1,024" in outline.text  # 2 · 512 sampled
    assert "700" in outline.text  # 2 · 350 without a gradient


def test_damaged_optional_files_do_not_matter(run_folder):
    folder = run_folder()
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(
        whole + whole.splitlines()[-1] + '\n{"generation": 17, "se'
    )
    (folder / "config.json").write_text("{")
    (folder / "hall_of_fame.csv").write_bytes(b"\xff\xfe\x00")
    words = " ".join(written(folder)[1].text)
    assert "16 generations" in words
    assert "no readable config.json" in words
    assert "no readable hall_of_fame.csv" in words


def test_nan_and_infinity_are_unknown(run_folder):
    folder = run_folder()
    text = (
        (folder / "results.json").read_text().replace("0.8061", "NaN").replace("0.793", "Infinity")
    )
    (folder / "results.json").write_text(text)
    words = " ".join(written(folder)[1].text).lower()
    assert "nan" not in words
    assert "inf " not in words


def test_missing_or_damaged_results_say_what_to_do(run_folder, tmp_path):
    with pytest.raises(ReportError, match="is not a folder: give the workdir of a run"):
        write_report(tmp_path / "nowhere")
    folder = run_folder(results=None)
    with pytest.raises(ReportError, match=r"no results\.json: .* give the run's command again"):
        write_report(folder)
    (folder / "results.json").write_text('{"losses": [\n}')
    with pytest.raises(ReportError, match=r"results\.json, line 2, column 1: expected JSON"):
        write_report(folder)
    (folder / "results.json").write_text("[]")
    with pytest.raises(ReportError, match="expected a JSON object, got list"):
        write_report(folder)


def test_a_failed_write_keeps_the_old_page(run_folder, monkeypatch):
    folder = run_folder()
    before = written(folder)[0]

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == before


def test_command_line(run_folder, tmp_path, capsys):
    folder = run_folder()
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert main([str(tmp_path / "nowhere")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "is not a folder" in captured.err
    with pytest.raises(SystemExit) as usage:
        main([])
    assert usage.value.code == 2


def test_module_runs(run_folder):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "autolossgen.report", str(run_folder(results=None))]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
