"""The losses of a run of rankings: names, formulas, and what other runs found."""

import json

import pytest

from autolossgen.configs.topk import get_config
from autolossgen.pipeline.rankings.contenders import drop_repeats, make_contenders
from autolossgen.ranking.tuning import Range

FORMULA = "logsumexp_neg(-diff / c0)"


@pytest.fixture
def found(tmp_path):
    """The folder of a run that found a loss of dot products, with its own constant."""
    return write_run(tmp_path / "one" / "topk", FORMULA, {"c0": 7.0})


def write_run(folder, formula, constants):
    folder.mkdir(parents=True)
    entry = {"name": "found-3", "found": True, "formula": formula, "score": "dot"}
    entry |= {"model": "mf", "dataset": "own", "valid": {"ndcg@20": 0.4}, "constants": constants}
    (folder / "results.json").write_text(json.dumps({"losses": [entry]}))
    return folder


def read(*losses):
    config = get_config()
    config.contenders.losses = tuple(map(str, losses))
    return make_contenders(config)


def test_a_loss_of_another_run_begins_as_it_was_tuned_there(found):
    (contender,) = read(found)
    assert (contender.name, contender.score) == ("topk-found-3", "dot")
    assert contender.published == {"c0": 7.0}
    assert contender.constants == {"c0": Range(0.05, 7.0)}  # 5 is the highest that is tried


def test_a_hall_of_fame_has_the_score_of_its_run(found):
    (found / "results.json").unlink()
    (found / "hall_of_fame.csv").write_text(f"rank,formula\n1,{FORMULA}\n")
    assert read(found)[0].score == "cosine"
    (found / "config.json").write_text(json.dumps({"contenders": {"score": "sigmoid"}}))
    (contender,) = read(found / "hall_of_fame.csv")
    assert (contender.score, contender.published) == ("sigmoid", None)


def test_named_losses_alone_have_published_constants():
    named, formula = read("softmax", FORMULA)
    assert named.published == {"temperature": pytest.approx(0.2)}
    assert formula.published is None
    assert formula.constants == {"c0": Range(0.05, 5.0)}


def test_a_loss_is_tested_once(found):
    kept, notes = drop_repeats(read("softmax", FORMULA, "softmax", found, FORMULA))
    assert [(one.name, one.score) for one in kept] == [
        ("softmax", "cosine"),
        (FORMULA[:21] + "...", "cosine"),
        ("topk-found-3", "dot"),
    ]
    assert notes == ["tested once: softmax", f"tested once: {FORMULA[:21]}..."]


def test_runs_of_one_name_are_told_apart(found, tmp_path):
    other = write_run(tmp_path / "two" / "topk", "softplus(-diff)", {})
    names = [contender.name for contender in drop_repeats(read(found, other))[0]]
    assert names == ["topk-found-3-1", "topk-found-3-2"]
