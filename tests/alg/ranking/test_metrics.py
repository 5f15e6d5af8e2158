"""Metrics of rankings against trec_eval, and against plain loops."""

import math

import jax
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autolossgen import named_loss
from autolossgen.ranking.metrics import (
    USER_METRICS,
    check_metric,
    compute_list_metrics,
    compute_user_metrics,
    rank_top,
)
from autolossgen.ranking.trainer import RankState, make_eval_split, make_rank_trainer
from tests.helpers.ranking_sets import make_score_table, sets_from

CUTOFFS = (1, 3, 5, 20)  # there are fewer items than the last
LANES, USERS, ITEMS = 2, 30, 12
TREC = {"ndcg": "ndcg_cut", "recall": "recall", "precision": "P", "map": "map_cut"}


@pytest.fixture(scope="module")
def evaluated():
    """Returns rankings with many equal scores, and what the trainer's evaluation says of them."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (LANES, USERS, ITEMS)).astype(np.float32)
    masked = rng.random((USERS, ITEMS)) < 0.25
    masked[0] = True  # nothing is left to be ranked
    relevant = rng.random((USERS, ITEMS)) < rng.choice([0, 0.1, 0.5], USERS)[:, None]
    relevant[0, 2:5] = relevant[1] = True
    trainer = make_rank_trainer(make_score_table(ITEMS), named_loss("bpr"), cutoffs=CUTOFFS)
    part = rng.random(masked.shape) < 0.5
    masks = [sets_from(masked & part), sets_from(masked & ~part)]
    split = make_eval_split(sets_from(relevant), masks, ITEMS)
    state = RankState(
        params=scores, opt_state=(), threshold=np.zeros((LANES, USERS)), epoch=np.zeros(LANES)
    )
    return scores, masked, relevant, trainer.evaluate(state, split)


def test_metrics_are_those_of_trec_eval(evaluated):
    scores, masked, relevant, found = evaluated
    users = np.flatnonzero(relevant.any(1))
    assert 0 < len(users) < USERS
    assert found.users.keys() == {f"{name}@{k}" for name in USER_METRICS for k in CUTOFFS}
    for lane in range(LANES):
        expected = evaluate_by_trec(scores[lane], masked, relevant)
        for name, values in found.users.items():
            trec = [expected[user][name] for user in users]
            np.testing.assert_allclose(values[lane], trec, atol=1e-6, err_msg=name)


def evaluate_by_trec(scores, masked, relevant):
    """Returns user -> metric -> value.

    Of equal scores, trec_eval ranks the one first whose name comes last in the alphabet.
    """
    names = [[f"{'a' if liked else 'b'}{i}" for i, liked in enumerate(row)] for row in relevant]
    qrels, run = {}, {}
    for user in range(len(scores)):
        of_user = dict(zip(names[user], scores[user].tolist(), strict=True))
        run[str(user)] = {names[user][i]: of_user[names[user][i]] for i in unmasked(masked[user])}
        if relevant[user].any():
            qrels[str(user)] = {name: 1 for name in of_user if name.startswith("a")}
    cuts = ",".join(map(str, CUTOFFS))
    asked = {f"{name}.{cuts}" for name in (*TREC.values(), "success")}
    full = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    # The reciprocal rank has no cutoff there: it is given the first k alone.
    by_rank = {
        k: pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(
            {user: take_first(ranking, k) for user, ranking in run.items()}
        )
        for k in CUTOFFS
    }
    metrics = {}
    for user, liked in qrels.items():
        of_user = metrics.setdefault(int(user), {})
        for k in CUTOFFS:
            for name, trec in {**TREC, "hit": "success"}.items():
                of_user[f"{name}@{k}"] = full.get(user, {}).get(f"{trec}_{k}", 0.0)
            of_user[f"mrr@{k}"] = by_rank[k].get(user, {}).get("recip_rank", 0.0)
            # trec_eval divides by all that is relevant, even if fewer can be among the first k.
            of_user[f"map@{k}"] *= len(liked) / min(k, len(liked))
    return metrics


def unmasked(mask):
    return np.flatnonzero(~mask)


def take_first(ranking, k):
    return dict(sorted(ranking.items(), key=lambda pair: pair[::-1], reverse=True)[:k])


def test_spread_over_the_catalogue_is_that_of_what_is_recommended(evaluated):
    """Nobody is recommended what is masked, even if fewer than k items are left."""
    scores, masked, relevant, found = evaluated
    users = np.flatnonzero(relevant.any(1))
    for lane in range(LANES):
        ranked = [rank_by_loop(scores[lane, u], relevant[u], masked[u]) for u in users]
        for k in CUTOFFS:
            coverage, gini = spread_by_loop([items[:k] for items in ranked], ITEMS)
            assert found.lists[f"coverage@{k}"][lane] == pytest.approx(coverage)
            assert found.lists[f"gini@{k}"][lane] == pytest.approx(gini, abs=1e-6)


def rank_by_loop(scores, relevant, masked):
    """Returns the items of a ranking: of equal scores the relevant ones come last."""
    left = [i for i in range(len(scores)) if not masked[i] and scores[i] > -np.inf]
    return sorted(left, key=lambda i: (-scores[i], relevant[i], i))


def spread_by_loop(recommended, num_items):
    """Returns the coverage, and the Gini index: the mean difference over twice the mean."""
    often = np.zeros(num_items)
    for items in recommended:
        for item in items:
            often[item] += 1
    mean_difference = np.abs(often[:, None] - often).mean()
    return np.mean(often > 0), mean_difference / (2 * often.mean()) if often.any() else 0.0


def metrics_by_loop(hits, count, places, k):
    """Returns the metrics of one user, as their definitions say."""
    ranks = [rank for rank, hit in enumerate(hits[:k], 1) if hit]
    most = min(k, count, places)
    return {
        f"ndcg@{k}": sum(1 / math.log2(1 + rank) for rank in ranks)
        / sum(1 / math.log2(1 + rank) for rank in range(1, most + 1)),
        f"recall@{k}": len(ranks) / count,
        f"precision@{k}": len(ranks) / k,
        f"hit@{k}": float(bool(ranks)),
        f"mrr@{k}": 1 / ranks[0] if ranks else 0.0,
        f"map@{k}": sum(n / rank for n, rank in enumerate(ranks, 1)) / most,
    }


SMALL = (4, 6)  # users, items
FEW = (1, 2, 4, 9)


@jax.jit
def rank_and_measure(scores, items, counts):
    top = rank_top(scores, items, max(FEW))
    metrics = compute_user_metrics(top.hit, counts, FEW)
    return top, metrics, compute_list_metrics(top.items, FEW, SMALL[1])


@settings(max_examples=60)
@given(
    scores=arrays.arrays(
        np.float32, SMALL, elements=st.sampled_from([-1, 0, 1, 2, np.nan, np.inf, -np.inf])
    ),
    relevant=arrays.arrays(bool, SMALL),
)
def test_rankings_and_metrics_are_those_of_a_loop(scores, relevant):
    """A score of NaN or -inf is no recommendation."""
    relevant[:, 2] |= ~relevant.any(1)
    num_users, num_items = SMALL
    items = np.where(relevant, np.arange(num_items), num_items).astype(np.int32)
    items = np.sort(items, axis=1)
    counts = relevant.sum(1).astype(np.int32)
    top, metrics, lists = jax.device_get(rank_and_measure(scores, items, counts))
    expected = [rank_by_loop(scores[u], relevant[u], np.isnan(scores[u])) for u in range(num_users)]
    for user, ranked in enumerate(expected):
        nothing = [num_items] * (num_items - len(ranked))
        assert top.items[user].tolist() == ranked + nothing
        hits = relevant[user, ranked]
        assert top.hit[user].tolist() == hits.tolist() + [False] * len(nothing)
        for k in FEW:
            for name, value in metrics_by_loop(hits, counts[user], num_items, k).items():
                assert metrics[name][user] == pytest.approx(value, abs=1e-6), name
    for k in FEW:
        coverage, gini = spread_by_loop([ranked[:k] for ranked in expected], num_items)
        assert lists[f"coverage@{k}"] == pytest.approx(coverage)
        assert lists[f"gini@{k}"] == pytest.approx(gini, abs=1e-6)


@pytest.mark.parametrize("name", ["ndcg@7", "auc@20", "ndcg", ""])
def test_a_metric_that_there_is_not_is_an_error_with_those_that_there_are(name):
    with pytest.raises(ValueError, match=r"one of ndcg@20, recall@20.*got '" + name):
        check_metric(name, (20,))
