"""The command line with pairwise losses."""

import numpy as np
import pytest
from rich.console import Console

from autolossgen.configs.command_line import read_command_line
from autolossgen.pipeline.setup import make_setup
from tests.helpers.run_server import SMALL, SMOKE, assert_one_line, results

pytestmark = pytest.mark.slow

METRICS = ("ndcg@10", "recall@10", "hit@10", "mrr@10", "mrr")


def test_pairwise_losses_are_searched_and_tested_by_the_family_alone(server, tmp_path):
    family = "--config.space.family=pairwise"
    short = (
        "--config.search.generations=2",
        "--config.train.negatives=2",
        "--config.test.epochs=1",
        "--config.contenders.baselines=('bpr','sampled_softmax')",
    )
    done = server.run(*SMALL, family, *short, f"--workdir={tmp_path / 'run'}")
    assert (done.code, done.err) == (0, "")
    losses = results(tmp_path / "run")["losses"]
    assert [loss["name"] for loss in losses][:2] == ["bpr", "sampled_softmax"]
    assert any(loss["found"] for loss in losses)
    for loss in losses:
        assert set(loss["valid"]) == set(loss["test"]) == {*METRICS}
        assert (loss["vs_best_baseline"] or {"metric": "ndcg@10"})["metric"] == "ndcg@10"
    assert "test NDCG@10" in done.out
    assert "AUC" not in done.out + (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("argument", "fragments"),
    [
        ("--config.train.negatives=0", ["at least 1", "got 0"]),
        ("--config.implicit.candidates=-1", ["implicit.candidates", "-1"]),
        ("--config.space.operands=('pred','label')", ["operand 'pred'"]),
        ("--config.contenders.baselines=('bce',)", ["pairwise losses, got 'bce'"]),
        ("--config.filter.name=paper", ["filter 'paper' is for pointwise losses"]),
    ],
)
def test_what_is_not_pairwise_is_refused_in_that_family(command, argument, fragments, tmp_path):
    family = "--config.space.family=pairwise"
    done = command(SMOKE, "--config.devices=1", family, argument, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, *fragments)


@pytest.fixture
def liked(tmp_path):
    """A file of positives alone."""
    rng = np.random.default_rng(0)
    rows = [(u, i) for u in range(30) for i in rng.permutation(40)[:12]]
    path = tmp_path / "liked.csv"
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    config = read_command_line(["run.py", "--config=configs/csv.py:smoke"])[0]
    config.data.update(path=str(path), label="")
    config.model.embedding_dim = 4
    return config


def test_data_of_positives_alone_are_searched_in_pairs_or_with_drawn_negatives(liked):
    with pytest.raises(ValueError, match=r"train split .* got only label 1"):
        make_setup(liked, Console(quiet=True), {})
    liked.implicit.negatives = 3
    with pytest.raises(ValueError, match=r"reward split .* --config\.search\.reward=ndcg@10"):
        make_setup(liked, Console(quiet=True), {})
    liked.search.reward = "ndcg@10"
    splits = make_setup(liked, Console(quiet=True), {}).splits
    assert float(splits.full_train.label.mean()) == 0.25
    assert splits.train.label.size < splits.full_train.label.size
    liked.space.family = "pairwise"
    with pytest.raises(ValueError, match=r"pairwise ones have train\.negatives"):
        make_setup(liked, Console(quiet=True), {})
    liked.implicit.negatives = 0
    assert make_setup(liked, Console(quiet=True), {}).task.group == 5
