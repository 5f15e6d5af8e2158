"""The HTML page: complete, self-contained, and not to be broken by what a run folder holds."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest

from autolossgen import files
from autolossgen.report import LossCurves, LossView
from autolossgen.report.page import write_report
from autolossgen.report.results import ReportError

HOSTILE = "<script>alert('$x_1$')</script> & \"quoted\""
VOID = {"meta", "wbr", "input"}


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


def written(folder, views=None):
    path = write_report(folder, views)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    # One script, the page's own; the policy lets no other run.
    (script,) = re.findall("<script>(.*?)</script>", text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in (
        html.unescape(text)
    )
    # Names of XML dialects are the only addresses, and nothing loads them.
    assert set(re.findall(r'[\w:]*="https?://[^"]*"', text)) <= {
        'xmlns="http://www.w3.org/2000/svg"',
        'xmlns:xlink="http://www.w3.org/1999/xlink"',
        'xmlns="http://www.w3.org/1998/Math/MathML"',
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
    cell = r'<td class="right">{}</td>\s*'
    row = r'<th scope="row">[^<]*</th>\s*' + cell.format("[^<]*") + cell.format("([^<]*)")
    left = re.findall(row, table)
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
    assert text.count("<script") == 1
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


VIEW = LossView(
    latex={"": r"\frac{1}{y} + 0.21965171", "like": r"\log\left(y\right)"},
    code={"Python": f"loss = {HOSTILE}", "JAX": "import jax", "PyTorch": "import torch"},
    curves=LossCurves(
        "logit",
        [0.0, 1.0, 2.0],
        {"a like": [2.0, 1.0, 0.5], "a dislike": [0.0, float("nan"), float("inf")]},
        {"a like": [-1.0, -1.0, -0.5], "a dislike": [0.0, 1.0, 1e30]},
    ),
)


def test_the_loss_to_use_is_typeset_and_ready_to_copy(run_folder):
    views = {("BiasedMF", "ml100k", "found 1"): VIEW}
    text, outline = written(run_folder(), views)
    use = text[text.index("Use this loss</h2>") : text.index("Is it better?</h2>")]
    assert "found by the search and better than the best baseline" in use
    assert "<mfrac>" in use
    assert "<mn>0.21965</mn>" in use  # a person needs no more digits
    assert "for a like" in use
    assert "learning rate 0.01, weight decay 1e-05, epochs 40" in use
    assert [title for title in VIEW.code if f">{title}</label>" in use] == [*VIEW.code]
    assert outline.text.count(VIEW.code["Python"]) == 1  # whole, and as text
    assert "curves0-" in text


def test_a_formula_that_cannot_be_typeset_is_still_there_as_text(run_folder):
    views = {("BiasedMF", "ml100k", "found 1"): VIEW._replace(latex={"": r"\frac{1}{"})}
    text, outline = written(run_folder(), views)
    assert "<math" not in text
    assert "max(reciprocal(pred)" in "".join(outline.text)


def test_metrics_at_several_places_are_switched_and_that_of_the_verdict_comes_first(
    run_folder, loss_entry
):
    test = {f"{name}@{k}": {"mean": k / 100} for k in (5, 20, 10) for name in ("recall", "ndcg")}
    against = {"metric": "ndcg@10", "difference": -0.1, "ci95": [-0.2, -0.05], "p_holm": 0.01}
    losses = [
        loss_entry("softmax", None, test=test, valid={"ndcg@10": 0.1}),
        loss_entry("bpr", None, test=test, valid={}, vs_best_baseline=against),
    ]
    text, _ = written(run_folder({"losses": losses}))
    titles = re.findall(r'id="metrics0-\d"( checked)?><label[^>]*>([^<]*)', text)
    assert titles == [
        ("", "test at 5"),
        (" checked", "test at 10"),
        ("", "test at 20"),
        ("", "validation at 10"),
    ]
    assert re.findall(r'class="right">(\w+@5)</th>', text) == ["NDCG@5", "recall@5"]
    assert "over users and seeds" in text  # what these intervals are
    assert "Thick: 95 % interval over seeds" not in text


def test_courses_trials_and_promotion_are_shown(run_folder, results):
    course = {"epochs": [1, 2], "valid": [0.7, 0.8]}
    tuning = [{"learning_rate": rate, "valid": 0.8 - rate} for rate in (0.01, 0.1)]
    for loss in results["losses"]:
        loss |= {"course": course, "tuning": [*tuning, {"learning_rate": 1.0, "valid": None}]}
    results["losses"][4] |= {"constants": {"c0": 0.5}, "tuning": [{**tuning[0], "c0": 0.5}]}
    results["losses"][4] |= {"edges": ["c0 at its lowest"], "diverged": 1}
    folder = run_folder(results)
    promotion = [
        {"rung": 1, "epochs": 3, "name": "found-1", "reward": 0.81, "course": course},
        {"rung": 1, "epochs": 3, "name": HOSTILE, "reward": None, "course": None},
        {"rung": 2, "epochs": 9, "name": "found-1", "reward": 0.82, "course": course},
    ]
    (folder / "promotion.json").write_text(json.dumps(promotion))
    text, outline = written(folder)
    assert "courses0-" in text
    assert "sensitivity0-" in text
    assert "constant c0" in text
    assert "others may be better: found 1 (c0 at its lowest)." in text
    assert "trainings of found 1." in text[text.index("Diverged, and count as 0") :]
    table = text[text.index("and why</h2>") :]
    for said in (
        "after 3 epochs",
        "after 9 epochs",
        "0.8100",
        "0.8200",
        "tested",
        "twins of baselines: 1",
    ):
        assert said in table
    assert HOSTILE in outline.text


def test_where_it_comes_from_is_said(run_folder, results):
    folder = run_folder(results | {"seconds": {"search": 60.0, "test": 5.0}})
    (folder / "command.txt").write_text(f"run.py {HOSTILE}\n")
    (folder / "data.json").write_text('{"rows": 1234, "digests": {"user": "fc96"}}')
    text, outline = written(folder)
    assert f"run.py {HOSTILE}" in outline.text
    assert {"1234", "digests.user", "fc96", "1:00", "1:05"} <= {*outline.text}
    assert '<a href="results.json">' in text
    assert '<a href="run.log">' not in text  # it is not there


def test_a_transfer_is_a_heat_map(run_folder, loss_entry):
    losses = [
        loss_entry(name, 0.8 + gain, gain, model=model)
        for model, gains in {"MF": (0.02, -0.04), "NeuMF": (0.01, -0.01)}.items()
        for name, gain in zip(("new", "mse"), gains, strict=True)
    ]
    losses += [loss_entry("bce", 0.8, model=model) for model in ("MF", "NeuMF")]
    text, _ = written(run_folder({"losses": losses}))
    tints = re.findall(r"--tone: var\(--(\w+)\); --share: (\d+)%", text)
    by_loss = {"new": tints[:2], "bce": tints[2:4], "mse": tints[4:6]}
    assert by_loss == {
        "new": [("good", "28"), ("good", "55")],
        "mse": [("bad", "55"), ("bad", "55")],
        "bce": [("bad", "0"), ("bad", "0")],
    }


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
