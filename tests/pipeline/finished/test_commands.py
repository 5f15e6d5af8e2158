"""recommend, export and compare, on folders as runs leave them."""

import json

import numpy as np
import pytest

from autolossgen import build_loss
from autolossgen.pipeline.finished.recommender import save_recommender
from autolossgen.pipeline.finished.run import load_run
from autolossgen.pipeline.main import main
from tests.helpers.small_recommender import make_recommender

FOUND = "square(label - pred) * (1 + label)"


def make_loss(name, formula, valid, difference, **changes):
    d = difference or 0.0
    against = {"metric": "auc", "difference": d, "ci95": [d - 1, d + 1]}
    return {
        "name": name,
        "formula": formula,
        "tokens": None,
        "found": False,
        "bounds": None,
        "model": "biased_mf",
        "dataset": "d",
        "learning_rate": 3.0,
        "weight_decay": 1e-4,
        "seeds": [0, 1],
        "epochs": 7,
        "valid": {"auc": valid},
        "test": {"auc": {"mean": 0.7, "std": 0.1, "ci95": [0.6, 0.8]}},
        "vs_best_baseline": None if difference is None else against,
    } | changes


@pytest.fixture
def make_folder(tmp_path):
    """Returns a function that writes the folder of a finished search."""

    def make(called="run", difference=2.0, **data):
        folder = tmp_path / called
        folder.mkdir()
        losses = [
            make_loss("bce", "softplus(logit) - label * logit", 0.75, None),
            make_loss("maxr", "max(label / pred, pred / label)", 0.70, -0.1),
            make_loss("found-2", FOUND, 0.74, difference, found=True, bounds=[-1e5, 1e5]),
        ]
        results = {"losses": losses, "search": {}, "environment": {}}
        (folder / "results.json").write_text(json.dumps(results))
        config = {
            "space": {"family": "pointwise", "extra_operators": "", "bounds": [-1e5, 1e5]},
            "contenders": {"smoothing": 0.1},
            "data": data,
        }
        (folder / "config.json").write_text(json.dumps(config))
        save_recommender(make_recommender(np.random.default_rng(0)), folder)
        return folder

    return make


@pytest.fixture
def run(capsys):
    def run(*words):
        code = main(["autolossgen", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize(("difference", "best"), [(2.0, "found-2"), (0.5, "bce"), (-2.0, "bce")])
def test_the_best_is_found_only_if_it_is_better(make_folder, difference, best):
    assert load_run(make_folder(difference=difference)).best.name == best


def test_items_are_recommended(make_folder, run):
    folder = make_folder()
    code, out, err = run("recommend", folder, "--user=u3", "--user", "u0", "--k=2")
    assert (code, err) == (0, "")
    head, *rows = (line.split("\t") for line in out.splitlines())
    assert head == ["user", "item", "rank", "score"]
    expected = load_run(folder).recommend(["u3", "u0"], 2)
    assert [row[:3] for row in rows] == [[u, i, str(n)] for u, i, n, _ in expected.rows()]


def test_code_is_exported(make_folder, run):
    folder = make_folder()
    _, out, _ = run("export", folder, "--to=python")
    names = {}
    exec(out, names)
    logits, labels = np.array([0.5, -1.0]), np.array([1.0, 0.0])
    expected = build_loss(FOUND)(logits, labels, reduce_fn=None)
    np.testing.assert_allclose(names["loss"](logits, labels), expected, rtol=1e-5)
    assert "import torch" in run("export", folder, "--to=torch")[1]
    assert r"\hat{y}" in run("export", folder, "--to=latex")[1]
    read = json.loads(run("export", folder, "--to=json", "--loss=bce")[1])
    assert (read["name"], read["bounds"], read["learning_rate"]) == ("bce", [None, None], 3.0)


def test_a_baseline_is_built_as_it_was_tested(make_folder):
    """Smoothing is the config's."""
    loss = load_run(make_folder()).get_loss("maxr").loss
    value = float(loss(np.array([0.0]), np.array([1.0])))
    assert value == pytest.approx((1 + 0.1) / (0.5 + 0.1), rel=1e-5)


def test_runs_are_compared(make_folder, run):
    one, other = make_folder("one", name="a"), make_folder("other", difference=-2.0, name="b")
    code, out, err = run("compare", one, other)
    assert (code, err) == (0, "")
    assert "0.7400" in out
    assert "0.7500" in out
    assert f"found-2: {FOUND}" in out
    assert "do not compare: the data" in out
    assert "do not compare" not in run("compare", one, one)[1]


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (["recommend", "{}", "--user=u9"], 1, "'u9' is not in the data"),
        (["recommend", "{}", "--user=u0", "--k=0"], 1, "at least 1, got 0"),
        (["recommend", "{}"], 2, "required: --user"),
        (["recommend", "{}", "--user=u0", "--k=few"], 2, "invalid int value: 'few'"),
        (["recommend", "{}x", "--user=u0"], 1, "is not a folder"),
        (["export", "{}", "--to=pytorch"], 2, "invalid choice: 'pytorch'"),
        (["export", "{}", "--loss=found-3"], 1, "did you mean 'found-2'"),
        (["compare"], 2, "required: run"),
        (["recomend", "{}"], 2, "did you mean 'recommend'"),
    ],
)
def test_what_cannot_be_is_one_line(make_folder, run, words, code, fragment):
    folder = str(make_folder())
    found, out, err = run(*(word.format(folder) for word in words))
    assert (found, out) == (code, "")
    assert err.startswith("autolossgen: ")
    assert len(err.strip().splitlines()) == 1
    assert fragment in err


def test_a_transfer_has_no_best_loss(make_folder):
    folder = make_folder()
    results = json.loads((folder / "results.json").read_text())
    results["losses"].append(make_loss("bce", "logit", 0.7, None, model="deep"))
    (folder / "results.json").write_text(json.dumps(results))
    run = load_run(folder)
    assert run.losses.height == 4
    with pytest.raises(ValueError, match="is a transfer to 2 models"):
        run.best  # noqa: B018
