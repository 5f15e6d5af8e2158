"""Rankings through the command line, and the same run from Python."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from autolossgen import build_loss, find_loss, load_run
from tests.helpers.own_frames import BOOKS, USERS
from tests.helpers.run_server import assert_one_line, contents

pytestmark = pytest.mark.slow

SMOKE = "--config=configs/topk.py:smoke"
OWN = "logsumexp_neg(-5 * diff)"
SETTINGS = {
    "model.embedding_dim": 4,
    "train.batch_size": 64,
    "test.cutoffs": (2, 5),
    "test.metric": "ndcg@5",
    "test.epochs": 2,
}
TINY = (SMOKE, *(f"--config.{key}={value}" for key, value in SETTINGS.items()))
LOSSES = ("softmax", OWN)


def make_likes():
    """Yields user, item and number of likes of two groups, each of which likes half the items."""
    rng = np.random.default_rng(0)
    for user in range(24):
        for number, item in enumerate(rng.permutation(12)[:8]):
            yield user, item + 12 * (user % 2), number


def write_folder(path):
    """Writes likes in files of train and test."""
    path.mkdir()
    with (path / "train.tsv").open("w") as train, (path / "test.tsv").open("w") as test:
        for file in (train, test):
            file.write("user\titem\n")
        for user, item, number in make_likes():
            (test if number < 2 else train).write(f"{user}\t{item}\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("likes") / "own")


@pytest.fixture(scope="module")
def likes(tmp_path_factory):
    """A file of likes with ids as people have them."""
    path = tmp_path_factory.mktemp("likes") / "own.csv"
    rows = [{"reader": USERS[user], "book": BOOKS[item]} for user, item, _ in make_likes()]
    pl.DataFrame(rows).write_csv(path)
    return path


@pytest.fixture(scope="module")
def run(server, likes, tmp_path_factory):
    """A run from beginning to end; its arguments, its folder and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "topk"
    of_file = {"name": "csv", "path": likes, "user": "reader", "item": "book", "label": ""}
    data = (f"--config.data.{key}={value}" for key, value in of_file.items())
    arguments = (*TINY, f"--config.contenders.losses={LOSSES}", *data, f"--workdir={workdir}")
    return arguments, workdir, server.run(*arguments)


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def test_a_run_tests_losses_and_references(run):
    _, workdir, done = run
    assert (done.code, done.err) == (0, "")
    read = results(workdir)
    assert set(read) == {"losses", "search", "seconds", "environment"}
    losses = {loss["name"]: loss for loss in read["losses"] if not loss["name"].startswith("found")}
    assert [*losses] == ["popularity", "ease", "softmax", OWN]
    assert [loss["found"] for loss in losses.values()] == [False, False, False, True]
    names = {f"{name}@{k}" for name in ("ndcg", "recall", "precision", "mrr") for k in (2, 5)}
    for loss in losses.values():
        assert set(loss["test"]) == set(loss["test_masking_train"]) >= names
        assert loss["dataset"] == "own"
    assert len(losses["softmax"]["seeds"]) == 2
    assert losses["softmax"]["constants"].keys() == {"temperature"}
    assert sum(loss["vs_best_baseline"] is None for loss in losses.values()) == 1
    # Half of the items are another group's: EASE sees that at once.
    assert losses["ease"]["test"]["ndcg@5"]["mean"] > losses["popularity"]["test"]["ndcg@5"]["mean"]
    assert "test NDCG@5" in done.out
    assert (workdir / "report.html").exists()


def test_a_run_searches_and_tests_what_it_finds(run):
    _, workdir, done = run
    read = results(workdir)
    text = (workdir / "hall_of_fame.csv").read_text()
    hall = list(csv.DictReader(text.splitlines()))
    assert read["search"]["trained"] == len(hall) >= 3
    assert {row["twin"] for row in hall} >= {"softmax", "sl_at_k"}  # the initial losses
    rewards = [float(row["reward"]) for row in hall]
    assert rewards == sorted(rewards, reverse=True)
    (promoted,) = [row for row in hall if row["promoted"] == "1"]
    assert not promoted["twin"]
    (found,) = [loss for loss in read["losses"] if loss["name"].startswith("found")]
    assert found["name"] == f"found-{promoted['rank']}"
    assert found["formula"] == promoted["formula"]
    assert f"to be tested: {found['formula']}" in done.out
    loss = build_loss(found["formula"], family="pairwise", **found["constants"])
    tokens = build_loss(promoted["tokens"].split(), family="pairwise")
    assert set(tokens.constants) == set(found["constants"]) == set(loss.constants)
    for row in (workdir / "metrics.jsonl").read_text().splitlines():
        assert json.loads(row)["reference_reward"] == json.loads(row)["start_reward"] > 0


def test_what_is_finished_is_kept(run, server):
    arguments, workdir, _ = run
    before = results(workdir)
    weights = workdir / "recommender" / "weights.npz"
    recommender = weights.read_bytes()
    (workdir / "results.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (workdir / "tested").iterdir()}
    assert len(kept) == 5
    done = server.run(*arguments)
    assert (done.code, done.err) == (0, "")
    assert "tuning" not in done.out
    assert results(workdir)["losses"] == before["losses"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert weights.read_bytes() == recommender
    assert "finished" in server.run(*arguments).out


def test_the_same_call_from_python_returns_the_finished_run(run, likes, in_process):
    _, workdir, _ = run
    before = contents(workdir)
    settings = {**SETTINGS, "contenders.losses": LOSSES, "workdir": workdir, "quiet": True}
    found = find_loss(str(likes), user="reader", item="book", preset="smoke", **settings)
    assert contents(workdir) == before
    assert found.best[:-1] == load_run(workdir).best[:-1]


def test_a_run_keeps_a_recommender_and_says_what_to_use(run, likes):
    ran, frame = load_run(run[1]), pl.read_csv(likes)
    about = json.loads((ran.folder / "recommender" / "recommender.json").read_text())
    assert about["interactions"] == frame.height  # held out or not
    assert about["users"] == frame["reader"].n_unique()
    text = (ran.folder / "README.md").read_text()
    assert ran.best.formula in text
    for path in ran.folder.iterdir():
        if not path.name.startswith(("README", "events.", "run.lock")):
            assert path.name in text, path.name
    found = ran.recommend(USERS[2], k=30)
    liked = set(frame.filter(reader=USERS[2])["book"])
    assert set(found["item"]) == set(frame["book"]) - liked


def test_tested_losses_can_be_called(run):
    ran = load_run(run[1])
    pos, neg = jnp.array([2.0]), jnp.array([[0.5, 1.0]])
    for name in ran.losses.filter(pl.col("formula").is_not_null())["name"]:
        loss = ran.get_loss(name).loss
        given = {"threshold": jnp.array([0.7])} if loss.reads_threshold else {}
        assert np.isfinite(loss(pos, neg, **given))
    expected = np.logaddexp(-5 * 1.5, -5 * 1.0)
    assert float(ran.get_loss(OWN).loss(pos, neg)) == pytest.approx(expected, rel=1e-5)


def test_a_transfer_tests_named_losses_on_rankings(server, folder, tmp_path):
    losses = ("sl_at_k", OWN, "square(label - pred)")
    done = server.run(
        "--config=configs/transfer.py",
        f"--config.transfer.losses={losses!r}",
        f"--config.transfer.datasets=('topk.py:smoke={folder}',)",
        f"--workdir={tmp_path / 'run'}",
    )
    assert (done.code, done.err) == (0, "")
    assert "rankings do not test square(label - pred)" in done.out
    records = {loss["name"]: loss for loss in results(tmp_path / "run")["losses"]}
    assert [*records] == ["popularity", "ease", "sl_at_k", OWN, "bpr", "softmax"]
    assert {record["dataset"] for record in records.values()} == {"own"}
    assert results(tmp_path / "run")["search"]["trained"] == 0
    assert results(tmp_path / "run" / "mf-own")["losses"] == [*records.values()]


@pytest.mark.parametrize(
    ("losses", "fragment"),
    [
        ("('softmx',)", "did you mean 'softmax'?"),
        ("('relu(dif)',)", "did you mean 'diff'?"),
    ],
)
def test_a_transfer_to_rankings_refuses_what_is_no_loss(
    command, folder, tmp_path, losses, fragment
):
    done = command(
        "--config=configs/transfer.py",
        f"--config.transfer.losses={losses}",
        f"--config.transfer.datasets=('topk.py={folder}',)",
        f"--workdir={tmp_path / 'run'}",
    )
    assert_one_line(done, 1, fragment)


@pytest.mark.parametrize(
    ("argument", "code", "fragment"),
    [
        ("--config.data.path=nowhere", 1, "nowhere does not exist"),
        ("--config.contenders.losses=('softmx',)", 1, "did you mean 'softmax'?"),
        ("--config.contenders.losses=('bce',)", 1, "pairwise losses, got 'bce'"),
        ("--config.contenders.losses=('relu(dif)',)", 1, "did you mean 'diff'?"),
        ("--config.contenders.losses=()", 1, "at least one loss"),
        ("--config.contenders.references=()", 1, "got neither"),
        ("--config.contenders.references=('eas',)", 1, "did you mean 'ease'?"),
        ("--config.contenders.score=cos", 1, "score 'cos' is not one of"),
        ("--config.train.negatives=al", 1, "negatives are one of all, shared"),
        ("--config.model.name=light", 1, "did you mean 'lightgcn'?"),
        ("--config.model.embedding_dim=0", 1, "at least 1, got 0"),
        ("--config.test.metric=ndcg@7", 1, "got 'ndcg@7'"),
        ("--config.test.learning_rate=(0.1,0.01)", 1, "test.learning_rate is the lowest and"),
        ("--config.test.seeds=0", 1, "seeds of at least 1, got 0"),
        ("--config.search.generations=-1", 1, "search.generations is at least 0, got -1"),
        ("--config.generation.trials=(2,3)", 1, "at most as many trials as the one before"),
        ("--config.generation.constants=(5,1)", 1, "generation.constants is the lowest and the"),
        ("--config.promote.losses=0", 1, "promote.losses is at least 1, got 0"),
        ("--config.space.operators=('expp',)", 1, "did you mean 'exp'?"),
        ("--config.space.initial_losses=('sofmax',)", 1, "did you mean 'softmax'?"),
        ("--config.policy.name=evolve", 1, "policy.name 'evolve' is not known"),
        ("--config.test.seed=3", 2, "'seeds'"),
    ],
)
def test_what_cannot_be_is_one_line(command, folder, tmp_path, argument, code, fragment):
    losses = [f"--config.contenders.losses=('{OWN}',)"] * ("losses" not in argument)
    path = f"--config.data.path={folder}"
    done = command(*TINY, *losses, path, argument, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, code, fragment)
    assert not (tmp_path / "run").exists()


def test_a_malformed_line_is_named(command, folder, tmp_path):
    bad = write_folder(tmp_path / "bad")
    lines = (bad / "train.tsv").read_text().splitlines()
    (bad / "train.tsv").write_text("\n".join([*lines[:9], "1\t2\t3", *lines[9:]]) + "\n")
    done = command(*TINY, f"--config.data.path={bad}", f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, "train.tsv, line 10", "expected 2 fields")
