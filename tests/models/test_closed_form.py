"""Recommenders without a loss against their definitions in dense float64."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolossgen.interfaces import ItemSets
from autolossgen.models import closed_form
from autolossgen.models.closed_form import CLOSED_FORMS, compute_factors

RANKING = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ranking"
real = pytest.mark.skipif(not RANKING.exists(), reason="needs ../shared/data/ranking")

USERS, ITEMS = 40, 12
SMALL = {
    "popularity": {},
    "item_knn": {"neighbours": 3, "shrink": 2.0},
    "ease": {"l2": 3.0},
    "ials": {"embedding_dim": 5, "unobserved_weight": 0.2, "l2": 0.1, "sweeps": 3},
}
LARGER = {"item_knn": {"neighbours": 10}, "ease": {"l2": 20.0}}
QUICKER = {"ials": {"sweeps": 1}}
names = pytest.mark.parametrize("name", CLOSED_FORMS)


def draw_likes(seed=0, users=USERS, items=ITEMS, density=0.3):
    """Returns likes as a dense matrix; the first user has none, the second all but one item."""
    likes = (np.random.default_rng(seed).random((users, items)) < density).astype(float)
    likes[0], likes[1], likes[:, -1] = 0, 1, 0
    return likes


def draw_tastes(seed=0, users=120, items=40, groups=4):
    """Returns likes of users who each belong to a group, which likes its own items most."""
    rng = np.random.default_rng(seed)
    same = rng.integers(groups, size=users)[:, None] == np.arange(items) % groups
    return (rng.random((users, items)) < np.where(same, 0.6, 0.05)).astype(float)


def to_sets(likes):
    return ItemSets.of_pairs(*np.nonzero(likes), num_users=len(likes))


def score(name, likes, users=None, **changes):
    fitted = CLOSED_FORMS[name].fit(to_sets(likes), likes.shape[1], **SMALL[name] | changes)
    return fitted(np.arange(len(likes)) if users is None else np.asarray(users))


def compute_ndcg(scores, masked, wanted, k):
    """Returns NDCG@k, averaged over the users who want something."""
    scores = np.where(masked, -np.inf, scores)[wanted.any(1)]
    wanted = wanted[wanted.any(1)]
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    discount = 1 / np.log2(np.arange(k) + 2)
    gain = np.take_along_axis(wanted, top, 1) @ discount
    return np.mean(gain / np.cumsum(discount)[np.minimum(wanted.sum(1), k) - 1])


@names
def test_scores_are_a_new_float32_row_for_each_user(name):
    likes = draw_likes()
    users = np.array([7, 0, 7, 39], np.int32)
    scores = score(name, likes, users)
    assert (scores.dtype, scores.shape) == (np.float32, (4, ITEMS))
    np.testing.assert_allclose(scores, score(name, likes)[users], rtol=1e-5, atol=1e-6)
    fitted = CLOSED_FORMS[name].fit(to_sets(likes), ITEMS, **SMALL[name])
    first = fitted(users).copy()
    fitted(users)[...] = -np.inf  # as one does who masks
    np.testing.assert_array_equal(fitted(users), first)
    assert fitted(users[:0]).shape == (0, ITEMS)


@names
def test_users_without_likes_and_items_without_likers_are_fine(name):
    scores = score(name, draw_likes())
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[:, -1], 0.0)
    if name != "popularity":
        np.testing.assert_array_equal(scores[0], 0.0)
    assert not score(name, np.zeros((3, 4))).any()


@names
@pytest.mark.parametrize("end", [0, -1])
def test_both_ends_of_the_grid_are_fitted(name, end):
    grid = CLOSED_FORMS[name].grid
    assert {*grid} == {*SMALL[name]}
    assert all([*values] == sorted(set(values)) for values in grid.values())
    settings = {key: values[end] for key, values in grid.items()} | QUICKER.get(name, {})
    assert np.isfinite(score(name, draw_likes(), **settings)).all()


@names
def test_others_tastes_beat_popularity(name):
    likes = draw_tastes()
    held_out = np.zeros_like(likes, bool)
    for user, row in enumerate(likes):
        liked = np.flatnonzero(row)
        held_out[user, liked[:: max(2, liked.size // 2)]] = True
    train = np.where(held_out, 0, likes)
    by_chance = compute_ndcg(score("popularity", train), train > 0, held_out, k=5)
    ndcg = compute_ndcg(score(name, train, **LARGER.get(name, {})), train > 0, held_out, k=5)
    assert ndcg > 1.5 * by_chance or name == "popularity"


def test_popularity_counts_likers():
    np.testing.assert_array_equal(
        score("popularity", np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])), [[1, 2, 0]] * 3
    )


def sum_similarities(likes, neighbours, shrink):
    """Returns the scores of item-KNN from its definition, one pair of items at a time."""
    items = likes.shape[1]
    norm = np.linalg.norm(likes, axis=0)
    weights = np.zeros((items, items))
    for i in range(items):
        together = {j: likes[:, i] @ likes[:, j] for j in range(items) if j != i}
        cosine = {j: n / (norm[i] * norm[j] + shrink) for j, n in together.items() if n}
        for j in sorted(cosine, key=lambda j: (-round(cosine[j], 6), j))[:neighbours]:
            weights[j, i] = cosine[j]
    return likes @ weights


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999), neighbours=st.integers(1, ITEMS + 1), shrink=st.sampled_from([0, 4.5])
)
def test_item_knn_is_its_definition(seed, neighbours, shrink):
    likes = draw_likes(seed)
    scores = score("item_knn", likes, neighbours=neighbours, shrink=shrink)
    np.testing.assert_allclose(scores, sum_similarities(likes, neighbours, shrink), rtol=1e-5)


def test_of_equally_similar_neighbours_the_first_are_kept():
    likes = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
    scores = score("item_knn", likes, users=[2, 3], neighbours=1, shrink=0.0)
    assert scores[0, 0] > 0  # item 0's neighbour is item 1,
    assert scores[1, 0] == 0  # not item 2, which is as similar


def regress_each_item(likes, l2):
    """Returns the scores of EASE: each item's ridge regression on all others."""
    scores = np.zeros_like(likes)
    for item in range(likes.shape[1]):
        others = np.delete(likes, item, axis=1)
        penalty = np.sqrt(l2) * np.eye(others.shape[1])  # as rows whose target is 0
        target = np.concatenate([likes[:, item], np.zeros(len(penalty))])
        weights, *_ = np.linalg.lstsq(np.vstack([others, penalty]), target)
        scores[:, item] = others @ weights
    return scores


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), l2=st.sampled_from([0.5, 10.0, 300.0]))
def test_ease_is_a_regression_of_each_item_on_the_others(seed, l2):
    likes = draw_likes(seed)
    expected = regress_each_item(likes, l2)
    np.testing.assert_allclose(score("ease", likes, l2=l2), expected, rtol=1e-4, atol=1e-5)


def solve_each(likes, vectors, weight, l2):
    """Returns each row's minimum of the objective of iALS, the other side's vectors being fixed."""
    solved = []
    for row in likes:
        # The gradient's zero: Σ_liked (v'x - 1) v + weight Σ_all (v'x) v + regularisation x = 0
        liked = vectors[row > 0]
        matrix = liked.T @ liked + weight * vectors.T @ vectors
        matrix += l2 * (row.sum() + weight * len(vectors)) * np.eye(vectors.shape[1])
        solved.append(np.linalg.solve(matrix, liked.sum(0)))
    return np.array(solved)


# Systems are as large as a user's set up to the width of the vectors, here 3 or 50; from there on
# as large as the vectors, whose squares are summed in several parts if BLAS_THREADED is small.
@pytest.mark.parametrize(("dim", "threaded"), [(3, 2**18), (3, 30), (50, 2**18)])
def test_one_sweep_of_ials_solves_each_item_then_each_user(dim, threaded, monkeypatch):
    monkeypatch.setattr(closed_form, "BLAS_THREADED", threaded)
    monkeypatch.setattr(closed_form, "BLOCK_ENTRIES", 64)  # several blocks
    likes = draw_likes()
    options = {"embedding_dim": dim, "unobserved_weight": 0.3, "l2": 0.02 * 0.3 * ITEMS, "seed": 4}
    before, _ = compute_factors(to_sets(likes), ITEMS, sweeps=1, **options)
    user, item = compute_factors(to_sets(likes), ITEMS, sweeps=2, **options)
    expected = solve_each(likes.T, before.astype(float), 0.3, 0.02)
    np.testing.assert_allclose(item, expected, rtol=1e-3, atol=1e-5)
    expected = solve_each(likes, item.astype(float), 0.3, 0.02)
    np.testing.assert_allclose(user, expected, rtol=1e-3, atol=1e-5)


def compute_objective(likes, user, item, weight, l2):
    scores = user.astype(float) @ item.T
    of_users = l2 * (likes.sum(1) + weight * likes.shape[1]) @ (user.astype(float) ** 2).sum(1)
    of_items = l2 * (likes.sum(0) + weight * likes.shape[0]) @ (item.astype(float) ** 2).sum(1)
    return (likes * (scores - 1) ** 2).sum() + weight * (scores**2).sum() + of_users + of_items


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999), weight=st.sampled_from([0.01, 0.3]))
def test_the_objective_of_ials_never_rises(seed, weight):
    likes = draw_likes(seed)
    values = []
    for sweeps in range(1, 8):
        options = {"embedding_dim": 4, "unobserved_weight": weight, "sweeps": sweeps}
        options["l2"] = 0.01 * weight * ITEMS
        factors = compute_factors(to_sets(likes), ITEMS, seed=seed, **options)
        values.append(compute_objective(likes, *factors, weight, 0.01))
    assert values[1] < 0.999 * values[0]
    assert np.all(np.diff(values) <= 1e-6 * values[0])


def test_seeds_start_ials_elsewhere():
    likes = draw_likes()
    first, again, other = (score("ials", likes, sweeps=1, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("item_knn", {"neighbours": 0}, "neighbours is a number at least 1, got 0"),
        ("item_knn", {"shrink": -1.0}, "shrink is a number at least 0, got -1.0"),
        ("ease", {"l2": 0.0}, "l2 is a number above 0, got 0.0"),
        ("ease", {"l2": float("nan")}, "l2 is a number above 0, got nan"),
        ("ials", {"unobserved_weight": 0.0}, "unobserved_weight is a number above 0"),
        ("ials", {"l2": float("inf")}, "l2 is a number above 0, got inf"),
        ("ials", {"embedding_dim": 0}, "embedding_dim is a number at least 1"),
        ("ials", {"sweeps": 0}, "sweeps is a number at least 1"),
    ],
)
def test_a_wrong_setting_is_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        score(name, draw_likes(), **changes)


def test_a_regression_that_float32_cannot_solve_is_refused():
    alike = np.ones((1, 2))  # of two items, so that l2 alone decides, and is rounded away
    with pytest.raises(ValueError, match=r"l2 = 1e-20 is too small .* float32; try 1e-19"):
        score("ease", alike, l2=1e-20)


@names
def test_an_item_outside_the_catalogue_is_refused(name):
    liked = ItemSets.of_pairs(np.array([0, 0]), np.array([1, 5]), num_users=1)
    with pytest.raises(ValueError, match="from 0 to num_items - 1 = 4, got item 5"):
        CLOSED_FORMS[name].fit(liked, 5, **SMALL[name])


@real
def test_ease_has_its_known_ndcg_when_refitted_on_health():
    def read(part):
        path = RANKING / "amazon2014-health" / f"{part}.tsv"
        matrix = np.zeros((1974, 1200))
        matrix[tuple(np.loadtxt(path, int, skiprows=1).T)] = 1
        return matrix

    train, test = read("train"), read("test")
    ndcg = compute_ndcg(score("ease", train, l2=200.0), train > 0, test > 0, k=20)
    assert round(ndcg, 4) == 0.1468
