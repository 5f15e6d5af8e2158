"""The figures of rankings from folders that runs leave, which the product's own writers write."""

import json

import numpy as np
import pytest

from autolossgen.configs.topk import get_config
from autolossgen.pipeline.rankings.records import make_records, to_json
from autolossgen.ranking.comparison import compare_to
from autolossgen.ranking.fair_test import MASKS, RankResult
from experiments.ranking_results import METRICS, collect
from experiments.ranking_tables import make_served_table

SEEDS, USERS = 3, 40
RNG = np.random.default_rng(0)
BASE = RNG.random((1, USERS))


def make_result(name, lead, *, seeds=SEEDS, diverged=0):
    """Returns a result whose metrics are ahead of EASE by ``lead``, more or less."""
    values = BASE + lead + 0.01 * RNG.normal(size=(seeds, USERS))
    metrics = dict.fromkeys(METRICS, values)
    has_loss = seeds > 1
    return RankResult(
        name=name,
        formula=f"formula of {name}" if has_loss else "",
        score="cosine" if has_loss else "",
        found=False,
        settings={"learning_rate": 0.1, "weight_decay": 0.0, "temperature": 0.2}
        if has_loss
        else {},
        epochs=10,
        edges=["temperature at its lowest"],
        trials=None,
        valid=metrics,
        test=dict.fromkeys(MASKS, metrics),
        lists={mask: {"coverage@20": np.ones(seeds)} for mask in MASKS},
        num_trainings=22,
        num_epochs=99,
        seconds=5.0,
        diverged=dict.fromkeys(MASKS, diverged),
    )


def write_run(folder, results, *, dataset="own", **train):
    """Writes what a run of rankings leaves of these results."""
    (folder / "tested").mkdir(parents=True)
    for number, result in enumerate(results):
        (folder / "tested" / f"{number}.json").write_text(json.dumps(to_json(result)))
    records = make_records(results, metric="ndcg@20", model="mf", dataset=dataset)
    environment = {"device": "1 x cpu", "jax": "0.1"}
    text = json.dumps({"losses": records, "environment": environment})
    (folder / "results.json").write_text(text)
    config = get_config().to_dict()
    config["train"] |= train
    (folder / "config.json").write_text(json.dumps(config))
    return folder


EASE, SOFTMAX = make_result("ease", 0.0, seeds=1), make_result("softmax", -0.2)
SL, KNN = make_result("sl_at_k", 0.1, diverged=2), make_result("item_knn", -0.3, seeds=1)


def test_runs_on_the_same_data_are_one_table(tmp_path):
    one = write_run(tmp_path / "one", [EASE, SOFTMAX])
    cells = tmp_path / "transfer"  # the second run is a cell of a transfer
    write_run(cells / "mf-own", [KNN, SL, EASE], negatives="shared", num_negatives=1000)
    figures = collect([one, cells])
    rows = {row["loss"]: row for row in figures["rows"]}
    assert len(rows) == len(figures["rows"])  # EASE is in both runs, and once in the table
    assert list(rows) == ["ease", "softmax", "item_knn", "sl_at_k"]
    assert (figures["seeds"], figures["device"]) == (SEEDS, "1 x cpu, JAX 0.1")
    assert figures["published"]["own"] == {}
    negatives = [row["negatives"] for row in rows.values()]
    assert negatives == [None, "all", None, "1,000 shared"]
    assert rows["softmax"]["settings"] == SOFTMAX.settings
    assert rows["softmax"]["most_epochs"] == get_config().test.epochs
    mean, half = rows["sl_at_k"]["test"]["train"]["ndcg@20"]
    by_seed = SL.test["train"]["ndcg@20"].mean(1)
    assert mean == pytest.approx(by_seed.mean(), abs=1e-5)
    assert half == pytest.approx(4.303 * by_seed.std(ddof=1) / 3**0.5, abs=2e-5)
    assert "to_ease" not in rows["ease"]
    values = [result.test["train+valid"]["ndcg@20"] for result in (SOFTMAX, SL)]
    expected = compare_to(values, EASE.test["train+valid"]["ndcg@20"])  # of losses alone
    for name, difference in zip(("softmax", "sl_at_k"), expected, strict=True):
        found = rows[name]["to_ease"]
        assert found["difference"] == pytest.approx(difference.mean, abs=1e-5)
        assert found["interval"] == pytest.approx([difference.low, difference.high], abs=1e-5)
        assert found["p_holm"] == pytest.approx(difference.p, abs=1e-5)


def test_the_tables_are_made_of_them(tmp_path):
    figures = collect([write_run(tmp_path / "run", [EASE, SL, SOFTMAX])])
    names = [line.split(" | ")[0] for line in make_served_table(figures, "own").splitlines()]
    assert names[2:] == ["| sl_at_k (2 of 3 trainings diverged)", "| ease", "| softmax"]
    without = collect([write_run(tmp_path / "without", [SOFTMAX])])
    assert make_served_table(without, "own").endswith("|  |")


def test_what_is_no_run_of_rankings_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="is no finished run of rankings"):
        collect([tmp_path])
    one = write_run(tmp_path / "one", [EASE])
    fewer = {mask: {m: x[:, 1:] for m, x in SOFTMAX.test[mask].items()} for mask in MASKS}
    other = write_run(tmp_path / "other", [SOFTMAX._replace(test=fewer)])
    with pytest.raises(SystemExit, match="39 and 40 users in the test: expected the same split"):
        collect([one, other])
