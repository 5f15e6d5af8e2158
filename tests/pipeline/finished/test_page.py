"""The page and the plots of runs, from folders as runs leave them; nothing is trained."""

import json

import numpy as np
import pytest

from autolossgen import build_loss, named_loss, report
from autolossgen.pipeline.finished.page import write_page
from autolossgen.pipeline.finished.run import load_run
from autolossgen.pipeline.finished.views import make_views
from autolossgen.pipeline.main import main

FOUND = "square(label - pred) * (1 + label)"
RANKING = "logsumexp_neg((neg - pos) / c0)"
POINTWISE_CONFIG = {
    "space": {"family": "pointwise", "extra_operators": "", "bounds": [-1e5, 1e5]},
    "contenders": {"smoothing": 0.1},
}


def make_loss(name, formula, *, found=False, **changes):
    against = {"metric": "auc", "difference": 0.1, "ci95": [0.05, 0.15]}
    return {
        "name": name,
        "formula": formula,
        "found": found,
        "model": "m",
        "dataset": "d",
        "learning_rate": 3.0,
        "valid": {"auc": 0.7 + found / 10},
        "test": {"auc": {"mean": 0.7 + found / 10, "std": 0.1, "ci95": [0.6, 0.9]}},
        "vs_best_baseline": against if found else None,
    } | changes


def write_run(folder, losses, config):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"losses": losses, "search": {}}))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def pointwise(tmp_path_factory):
    losses = [
        make_loss("bce", "softplus(logit) - label * logit"),
        make_loss(
            "found-1",
            FOUND,
            found=True,
            bounds=[-1e5, 1e5],
            by_label={"like": "2 * square(1 - pred)", "dislike": "square(pred)"},
            course={"epochs": [1, 2], "valid": [0.7, 0.8]},
        ),
        make_loss("strange", "no_such_operator(pred)", found=True, valid={"auc": 0.1}),
    ]
    return write_run(tmp_path_factory.mktemp("pointwise") / "run", losses, POINTWISE_CONFIG)


@pytest.fixture(scope="module")
def ranking(tmp_path_factory):
    losses = [
        make_loss("ease", ""),
        make_loss("softmax", "", score="cosine", constants={"temperature": 0.25}),
        make_loss("found-2", RANKING, found=True, score="cosine", constants={"c0": 0.5}),
    ]
    losses[1] |= {"formula": "logsumexp_neg(-diff / temperature)", "valid": {"auc": 0.65}}
    losses[1]["vs_best_baseline"] = {"metric": "auc", "difference": -0.1, "ci95": [-0.2, -0.05]}
    config = {"contenders": {"references": ["ease"]}}
    return write_run(tmp_path_factory.mktemp("ranking") / "run", losses, config)


def view(folder):
    files = report.read_run_folder(folder)
    views = make_views(files, {("m", "d"): files.config})
    return {name: one for (_, _, name), one in views.items()}


def run_code(source):
    scope = {}
    exec(source, scope)
    return scope["loss"]


def test_code_on_the_page_is_the_loss(pointwise):
    code = view(pointwise)["found-1"].code
    assert [*code] == ["Python", "JAX", "PyTorch"]
    assert "learning rate 3" in code["PyTorch"]
    logits, labels = np.float32([-1, 0.5, 2]), np.float32([0, 1, 1])
    lines = code["Python"].replace("value = loss(logits, labels)", "")
    want = build_loss(FOUND)(logits, labels, reduce_fn=None)
    np.testing.assert_allclose(run_code(lines)(logits, labels, reduce_fn=None), want)
    np.testing.assert_allclose(run_code(code["JAX"])(logits, labels), want, rtol=1e-6)


def test_code_of_a_ranking_loss_has_its_tuned_constants(ranking):
    code = view(ranking)["found-2"].code
    pos, neg = np.float32([0.5]), np.float32([[0.1, -0.2]])
    want = named_loss("softmax", temperature=0.5)(pos, neg)
    lines = code["Python"].replace("value = loss(pos, neg)", "")
    np.testing.assert_allclose(run_code(lines)(pos, neg), want, rtol=1e-6)
    np.testing.assert_allclose(run_code(code["JAX"])(pos, neg), [want], rtol=1e-6)


def test_curves_are_value_and_gradient_of_the_loss(pointwise):
    curves = view(pointwise)["bce"].curves
    logits = np.asarray(curves.inputs)
    pred = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(curves.values["a like"], -np.log(pred), atol=1e-5)
    np.testing.assert_allclose(curves.gradients["a like"], pred - 1, atol=1e-5)
    np.testing.assert_allclose(curves.gradients["a dislike"], pred, atol=1e-5)


def test_a_ranking_loss_is_drawn_over_how_far_the_positive_is_ahead(ranking):
    curves = view(ranking)["found-2"].curves
    ahead = np.asarray(curves.inputs)
    assert (ahead.min(), ahead.max()) == (-1, 1)  # of cosines
    (gradient,) = curves.gradients.values()
    exponents = np.exp(np.concatenate([[-a for a in ahead], np.linspace(-1, 0, 9)]) / 0.5)
    share = exponents[: len(ahead)] / (exponents[: len(ahead)] + exponents[len(ahead) :].sum())
    np.testing.assert_allclose(gradient, -share / 0.5, atol=1e-5)


def test_what_cannot_be_built_or_has_no_loss_is_left_out(pointwise, ranking):
    assert set(view(pointwise)) == {"bce", "found-1"}
    assert set(view(ranking)) == {"softmax", "found-2"}


def test_a_transfer_shows_the_loss_to_use_of_each_cell(tmp_path, pointwise):
    losses = json.loads((pointwise / "results.json").read_text())["losses"][:2]
    change = {"dataset": "rank:ings", "formula": RANKING, "constants": {"c0": 0.5}}
    others = [{**loss, **change} for loss in losses[1:]]
    folder = write_run(tmp_path / "transfer", [*losses, *others], POINTWISE_CONFIG)
    write_run(folder / "m-rank.ings", [], {"contenders": {"references": []}})
    text = write_page(folder).read_text()
    assert "build_loss(&#39;square(label - pred)" in text
    assert "build_loss(&#39;logsumexp_neg" in text


def test_plots_of_a_run_are_shown_and_saved(pointwise, tmp_path):
    run = load_run(pointwise)
    assert run.plot_curves()._repr_png_().startswith(b"\x89PNG")
    assert run.plot_front() is None  # nothing was searched
    paths = run.save_plots(tmp_path / "pictures", kinds=["svg"])
    assert [path.name for path in paths] == ["curves.svg", "differences.svg", "courses.svg"]
    text = paths[1].read_text()
    assert "found-1" in text
    assert "var(--" not in text  # of the page alone
    with pytest.raises(ValueError, match=r"saved as \.svg, \.png or \.pdf, got 'curves\.gif'"):
        run.plot_curves().save(tmp_path / "curves.gif")


def test_the_command_writes_page_and_plots(pointwise, tmp_path, capsys):
    (pointwise / "report.html").unlink(missing_ok=True)
    code = main(["run.py", "report", str(pointwise), f"--plots={tmp_path}", "--kinds", "png"])
    printed = capsys.readouterr().out.split()
    assert code == 0
    assert printed[0] == str(pointwise / "report.html")
    assert all((tmp_path / name).stat().st_size for name in ("curves.png", "courses.png"))
    assert "Use this loss" in (pointwise / "report.html").read_text()


def test_the_command_needs_a_finished_run(tmp_path, capsys):
    assert main(["run.py", "report", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith("run.py: ")
    assert main(["run.py", "report", str(tmp_path), "--kinds", "gif"]) == 2
