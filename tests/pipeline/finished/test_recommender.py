"""What is kept of a recommender, and what it recommends, against a sort in NumPy."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolossgen.models.closed_form import CLOSED_FORMS
from autolossgen.pipeline.finished.recommender import (
    RecommendError,
    load_recommender,
    recommend,
    save_recommender,
)
from tests.helpers.small_recommender import make_recommender


@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 7),
    exclude_seen=st.booleans(),
    order=st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
@settings(max_examples=60)
def test_the_best_unseen_items_are_recommended(seed, k, exclude_seen, order):
    kept = make_recommender(np.random.default_rng(seed))
    users, items = kept.ids["user"][order], kept.ids["item"]
    found = recommend(kept, users["id"], k=k, exclude_seen=exclude_seen)
    expected = []
    for user, row in users.iter_rows():
        scores = kept.weights["user"][row] @ kept.weights["item"].T
        seen = set(kept.seen.items[kept.seen.start[row] : kept.seen.start[row + 1]].tolist())
        left = [
            (-scores[place], place, item)
            for item, place in items.iter_rows()
            if not (exclude_seen and place in seen)
        ]
        best = sorted(left)[:k]
        expected += [(user, item, n + 1, -score) for n, (score, _, item) in enumerate(best)]
    assert found.rows() == expected


@pytest.mark.parametrize("words", [True, False])
def test_what_is_kept_is_read_again(tmp_path, words):
    kept = make_recommender(np.random.default_rng(0), words=words)
    save_recommender(kept, tmp_path)
    read = load_recommender(tmp_path)
    users = kept.ids["user"]["id"]
    assert recommend(read, users, k=3).equals(recommend(kept, users, k=3))
    assert read.ids["user"].equals(kept.ids["user"])


def test_one_id_or_many_of_any_kind_can_be_asked_for():
    kept = make_recommender(np.random.default_rng(1), words=False)
    one = 10**12 + 3
    for users in (one, [one], np.array([one]), pl.Series([one]), str(one), (one,)):
        assert recommend(kept, users, k=2).equals(recommend(kept, [one], k=2))


@pytest.mark.parametrize(
    ("words", "users", "message"),
    [
        (True, "u33", "the user 'u33' is not in the data .did you mean 'u3'"),
        (True, ["u0", "zoe"], "'zoe' is not in the data: the ids of its 4 users are words such"),
        (False, 7, "the user 7 is not in the data: .*whole numbers such as 1000000000000"),
        (False, "zoe", "the user 'zoe' is not in the data"),
        (False, [], "an id of a user, or several, got none"),
    ],
)
def test_unknown_users_are_named(words, users, message):
    kept = make_recommender(np.random.default_rng(0), words=words)
    with pytest.raises(RecommendError, match=message):
        recommend(kept, users)


def test_a_number_of_items_that_is_none_is_refused():
    with pytest.raises(RecommendError, match="at least 1, got 0"):
        recommend(make_recommender(np.random.default_rng(0)), "u0", k=0)


def test_items_without_a_score_are_left_out():
    kept = make_recommender(np.random.default_rng(0))
    kept.weights["item"][4] = np.nan  # as of a training that diverged
    assert "i4" not in recommend(kept, "u0", k=9, exclude_seen=False)["item"].to_list()


def test_a_folder_without_one_is_named(tmp_path):
    with pytest.raises(RecommendError, match="holds no recommender: give the folder"):
        load_recommender(tmp_path)


def test_a_recommender_without_a_loss_is_fitted_again():
    rng = np.random.default_rng(0)
    kept = make_recommender(rng)
    about = {"kind": "closed_form", "loss": {"name": "ease"}, "settings": {"l2": 2.0}}
    kept = kept._replace(about={**about, "num_items": 8}, weights={})
    score = CLOSED_FORMS["ease"].fit(kept.seen, 8, l2=2.0)
    found = recommend(kept, "u3", k=5, exclude_seen=False)
    rows = kept.ids["item"].filter(pl.col("id").is_in(found["item"].implode()))
    expected = score(np.array([3]))[0][rows["row"].to_numpy()]
    by_item = dict(zip(rows["id"], expected, strict=True))
    for item, value in found.select("item", "score").iter_rows():
        assert value == pytest.approx(by_item[item], rel=1e-5)
