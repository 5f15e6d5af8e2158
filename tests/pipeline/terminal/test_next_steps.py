"""The last paragraph of a run says which loss to use, and how."""

import json

import pytest

from autolossgen.pipeline.terminal.next_steps import describe_next_steps


def make_loss(name, valid, difference, **changes):
    against = {"metric": "auc", "difference": difference, "ci95": [difference - 1, difference + 1]}
    return {
        "name": name,
        "formula": f"{name.partition('-')[0]}(pred, label)",
        "found": False,
        "model": "biased_mf",
        "dataset": "d",
        "learning_rate": 3.0,
        "weight_decay": 1e-4,
        "epochs": 7,
        "valid": {"auc": valid},
        "test": {"auc": {"mean": 0.7, "std": 0.1, "ci95": [0.6, 0.8]}},
        "vs_best_baseline": against if difference else None,
    } | changes


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (2.0, "found-2 (found, and better than all baselines), at learning rate 3, c0 0.25"),
        (0.5, "bce (a baseline: none is better), at learning rate 3"),
    ],
)
def test_the_loss_to_use_is_named_with_its_settings(tmp_path, difference, words):
    found = make_loss("found-2", 0.74, difference, found=True, constants={"c0": 0.25})
    lines = describe_next_steps(tmp_path, {"losses": [make_loss("bce", 0.75, 0), found]})
    name = words.split()[0]
    assert lines.splitlines() == [
        "Next",
        f"Use this loss: {words}",
        f"    {name.partition('-')[0]}(pred, label)",
        f"Write it as code: autolossgen export {tmp_path} --loss={name} --to=python "
        "(or torch, latex, json)",
        f"See the run as a page: {tmp_path / 'report.html'}",
    ]


def test_a_recommender_without_a_loss_recommends(tmp_path):
    (tmp_path / "recommender").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"name": "topk-smoke"}))
    ease = make_loss("ease", 0.8, 0, formula="")
    losses = [ease, make_loss("softplus(-diff / c0)", 0.7, -2.0, found=True)]
    text = describe_next_steps(tmp_path, {"losses": losses})
    assert "Use this loss: softplus(-diff / c0) (the best loss on validation; ease, without" in text
    assert "was better there, which decides)" in text
    assert "--loss='softplus(-diff / c0)'" in text  # as a shell takes it
    assert f"Recommend by ease: autolossgen recommend {tmp_path} --user=ID" in text
    assert "smoke test, too short to find much" in text


def test_a_transfer_has_no_one_loss_to_use(tmp_path):
    losses = [make_loss("bce", 0.75, 0), make_loss("bce", 0.75, 0, model="deep")]
    lines = describe_next_steps(tmp_path, {"losses": losses}).splitlines()
    assert lines == ["Next", f"See the run as a page: {tmp_path / 'report.html'}"]
