"""Runs from Python: what is given, what is left, and what is refused."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from autolossgen import find_loss, load_run
from tests.helpers.own_frames import (
    BOOKS,
    COLUMNS,
    TINY_SEARCH,
    USERS,
    make_ratings,
)
from tests.helpers.run_server import contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def search(in_process, tmp_path_factory):
    """A finished search on a frame of ratings, and how to ask for it again."""
    folder = tmp_path_factory.mktemp("runs") / "ratings"

    def ask(**changes):
        frame = changes.pop("frame", make_ratings())
        return find_loss(frame, **{**COLUMNS, **TINY_SEARCH, "workdir": folder, **changes})

    return ask(quiet=True), ask


def test_the_best_loss_is_what_the_results_say_to_use(search):
    run, _ = search
    losses = json.loads((run.folder / "results.json").read_text())["losses"]
    (baseline,) = [loss for loss in losses if loss["vs_best_baseline"] is None]
    better = [
        loss["name"]
        for loss in losses
        if loss["found"] and min(loss["vs_best_baseline"]["ci95"]) > 0
    ]
    assert run.best.name in (better or [baseline["name"]])
    assert run.best.learning_rate == next(
        loss["learning_rate"] for loss in losses if loss["name"] == run.best.name
    )


def test_tested_losses_can_be_called(search):
    run, _ = search
    logits, labels = np.array([0.3, -1.2, 2.0]), np.array([1.0, 0.0, 0.0])
    pred = 1 / (1 + np.exp(-logits))
    bce = -np.mean(labels * np.log(pred) + (1 - labels) * np.log(1 - pred))
    assert float(run.get_loss("bce").loss(logits, labels)) == pytest.approx(bce, rel=1e-5)
    assert float(run.get_loss("mse").loss(logits, labels)) == pytest.approx(
        np.mean((labels - pred) ** 2), rel=1e-5
    )
    with pytest.raises(ValueError, match="did you mean 'bce'"):
        run.get_loss("bec")
    assert "test auc 0." in repr(run.best)


def test_losses_and_hall_of_fame_are_frames(search):
    run, _ = search
    assert set(run.losses["name"]) >= {"bce", "mse"}
    assert run.losses["test_auc_mean"].dtype == pl.Float64
    assert run.hall_of_fame["rank"].to_list() == list(range(1, run.hall_of_fame.height + 1))
    assert run.report() == run.folder / "report.html"
    assert "<html" in run.report().read_text()


def test_recommendations_have_the_ids_of_the_caller(search):
    run, _ = search
    found = run.recommend([USERS[3], USERS[1]], k=4)
    assert found.columns == ["user", "item", "rank", "score"]
    assert found["user"].to_list() == [USERS[3]] * 4 + [USERS[1]] * 4
    assert found["rank"].to_list() == [1, 2, 3, 4] * 2
    assert set(found["item"]) <= set(BOOKS)
    for user in (USERS[3], USERS[1]):
        scores = found.filter(user=user)["score"].to_list()
        assert scores == sorted(scores, reverse=True)
    read = set(make_ratings().filter(reader=USERS[3])["book"])
    assert not read & set(run.recommend(USERS[3], k=len(BOOKS))["item"])
    assert set(run.recommend(USERS[3], k=len(BOOKS), exclude_seen=False)["item"]) == set(BOOKS)


def test_ids_come_back_as_the_frame_has_them(search, tmp_path):
    """Numbers that the frame has as words are no numbers to its owner."""
    folder = shutil.copytree(search[0].folder, tmp_path / "run")
    frame = make_ratings().with_columns(pl.col("book").cast(pl.String))
    frame.write_parquet(folder / "interactions.parquet")
    found = load_run(folder).recommend(USERS[:2], k=3)
    assert found["item"].to_list() == [
        str(book) for book in search[0].recommend(USERS[:2], k=3)["item"]
    ]


def test_scores_are_those_of_the_plain_weights(search):
    """BiasedMF by NumPy: a product, two biases in the last columns, and a global one."""
    run, _ = search
    folder = run.folder / "recommender"
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        weights = dict(file)
    row = {
        name: dict(pl.read_parquet(folder / f"{name}s.parquet").select("id", "row").iter_rows())
        for name in ("user", "item")
    }
    user = weights["table/user"][row["user"][USERS[5]]]
    found = run.recommend(USERS[5], k=len(BOOKS), exclude_seen=False)
    for item, score in found.select("item", "score").iter_rows():
        other = weights["table/item"][row["item"][item]]
        expected = user[:-1] @ other[:-1] + user[-1] + other[-1] + weights["dense/global_bias"]
        assert score == pytest.approx(float(expected), rel=1e-4)


def test_the_recommender_saw_all_data(search):
    run, _ = search
    about = json.loads((run.folder / "recommender" / "recommender.json").read_text())
    assert about["interactions"] == make_ratings().height
    assert about["users"] == len(pl.read_parquet(run.folder / "recommender/users.parquet"))


def test_a_finished_run_is_returned_at_once_and_loaded_later(search):
    run, ask = search
    before = contents(run.folder)
    again, loaded = ask(quiet=True), load_run(str(run.folder))
    assert contents(run.folder) == before
    for other in (again, loaded):
        assert other.best[:-1] == run.best[:-1]
        assert other.recommend(USERS[:9]).equals(run.recommend(USERS[:9]))


def test_a_quiet_run_keeps_a_log(search, capsys):
    run, ask = search
    log = (run.folder / "run.log").read_text()
    assert log.startswith("source: ")
    assert "training on all data  epoch 2/2" in log
    assert "The best found loss" in log
    assert "\x1b" not in log
    ask(quiet=True)
    assert capsys.readouterr().out == ""
    ask()
    assert "finished run" in capsys.readouterr().out


def test_the_readme_says_what_to_use(search):
    run, _ = search
    text = (run.folder / "README.md").read_text()
    assert run.best.formula in text
    for path in run.folder.iterdir():
        if not path.name.startswith(("README", "events.", "interactions.", "data.", "run.lock")):
            assert path.name in text, path.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": "reeder"}, "user='reeder': the frame has no such column .did you mean 'reader'"),
        (
            {"user": None, "frame": make_ratings().rename({"reader": "who"})},
            "expected a column 'user'.*Name yours: user, item, rating, time",
        ),
        ({"rating": "likes"}, "it has reader, book, stars"),
        ({"serch": {"generations": 3}}, "did you mean 'search.generations'"),
        ({"search": {"generation": 3}}, "did you mean 'search.generations'"),
        ({"generations": 3}, "give search={'generations': ...}"),
        ({"treshold": 3}, "did you mean 'threshold'"),
        ({"seed": "one"}, "seed is of type int, got 'one'"),
        ({"policy": {"evolution": {"explore": 0.1}}}, "would change nothing, as policy.name"),
        ({"promote.width": 3}, "is now config.promote.num_lanes"),
        ({"preset": "smok"}, "did you mean 'smoke'"),
        ({"config": "csw"}, "did you mean 'configs/csv.py'"),
        ({"config": "ml100k"}, "data of its own"),
        ({"threshold": 9}, "only label 0"),
        ({"policy": {"name": "randm"}}, "policy.name 'randm' is not known"),
        ({"frame": 7}, "takes a frame or a path, got int"),
        ({"frame": "nowhere.csv"}, "'nowhere.csv' is no file"),
        ({"frame": "ml100k"}, "give config='ml100k' alone"),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_caller(search, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        search[1](workdir=tmp_path / "run", quiet=True, **changes)
    assert "--" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_goes_on_with_one_frame_and_one_config_alone(search):
    run, ask = search
    before = contents(run.folder)
    with pytest.raises(ValueError, match="other interactions; choose another workdir"):
        ask(frame=make_ratings()[:-1], quiet=True)
    with pytest.raises(ValueError, match="seed is 0 there and 5 here"):
        ask(seed=5, quiet=True)
    assert contents(run.folder) == before
