"""The benchmarks: the peer computes what it is compared with, and pages show what was measured."""

import importlib
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autolossgen import PAPER_BOUNDS, Program, interpret, named_loss
from autolossgen.interfaces import Batch
from autolossgen.language.operators import NUMBER_OF
from autolossgen.training.tasks import RATING

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture
def benchmark():
    """Returns a function that imports a file of benchmarks/ or experiments/."""

    def load(name):
        folder = "benchmarks" if (ROOT / "benchmarks" / f"{name}.py").exists() else "experiments"
        return importlib.import_module(f"{folder}.{name}")

    return load


def test_the_peer_evaluates_programs_as_the_lanes_do(benchmark):
    torch = pytest.importorskip("torch")
    peer = benchmark("peer_pytorch")
    rng = np.random.default_rng(0)
    pred, label = rng.uniform(0.05, 0.95, 9), rng.integers(0, 2, 9)
    pred, label = (x.astype(np.float32) for x in (pred, label))
    drawn = [peer.draw_program(rng) for _ in range(30)]
    theirs = [peer.evaluate(nodes, torch.tensor(pred), torch.tensor(label)) for nodes in drawn]
    number = [[NUMBER_OF[node.operator] for node in nodes] for nodes in drawn]
    lhs = [[node.reads[0] for node in nodes] for nodes in drawn]
    rhs = [[(*node.reads, -1)[1] for node in nodes] for nodes in drawn]
    programs = Program(*map(np.asarray, (number, lhs, rhs)), np.zeros((30, peer.NODES)))
    evaluate = jax.vmap(lambda program: interpret(program, pred, label, bounds=PAPER_BOUNDS))
    np.testing.assert_allclose(evaluate(programs), torch.stack(theirs), rtol=1e-4)


def test_the_peer_trains_and_judges(benchmark):
    torch = pytest.importorskip("torch")
    peer, cases = benchmark("peer_pytorch"), benchmark("lane_cases")
    case = cases.Case(width=4, users=30, items=40, rows=600)
    data = peer.tensors(cases.interactions(case, case.rows, 0))
    data = data._replace(label=(data.user % 2).float())  # a bias can learn it
    torch.manual_seed(0)
    model = peer.BiasedMF(case)
    maxr = [  # max(label / pred, pred / label)
        peer.Node("reciprocal", (0,)),
        peer.Node("reciprocal", (1,)),
        peer.Node("mul", (1, 3)),
        peer.Node("mul", (0, 4)),
        peer.Node("max", (5, 6)),
    ]

    def loss():
        pred = torch.sigmoid(model(data.user, data.item))
        return peer.evaluate(maxr, pred, data.label).mean().item()

    before = loss()
    for _ in range(5):
        peer.train_epoch(model, maxr, data, 16)
    assert loss() < 0.8 * before


def test_the_peers_auc_is_the_share_of_pairs_in_order(benchmark):
    torch = pytest.importorskip("torch")
    peer = benchmark("peer_pytorch")
    rng = np.random.default_rng(0)
    score = rng.integers(0, 5, 40)
    label = rng.integers(0, 2, 40)
    pairs = score[label == 1][:, None] - score[label == 0]
    data = peer.Tensors(torch.tensor(score), torch.tensor(score), torch.tensor(label).float())
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert peer.auc(lambda user, item: user, data) == pytest.approx(expected)


def test_the_cost_of_a_step_is_told_from_that_of_an_epoch(benchmark, monkeypatch):
    cost = benchmark("cost")

    def taken(ways, repeats):
        return {name: np.full(repeats, 0.5 + 0.001 * way()) for name, way in ways.items()}

    monkeypatch.setattr(cost, "in_turns", taken)
    monkeypatch.setattr(cost, "epoch_way", lambda case, steps: lambda: steps)
    row = cost.measure(cost.PLAIN, 3)
    assert row["microseconds_per_lane_and_step"] == pytest.approx(1000 / 64)
    assert row["milliseconds_per_epoch_and_lane_beside_steps"] == pytest.approx(500 / 64)
    assert row["candidates_per_second"] == pytest.approx(64 / (0.5 + 0.001 * 740))


def test_the_page_shows_the_costs_that_were_measured(benchmark):
    cost = benchmark("cost")
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    axes = {}
    for name in ("cost", "cost_large_batches", "cost_catalogue"):
        axes |= json.loads((RESULTS / f"{name}.json").read_text())["axes"]
    assert {*axes} == {*cost.AXES}
    assert cost.table(axes) in page


def test_the_pages_show_the_results_that_runs_wrote(benchmark):
    files = [ROOT / "docs" / "results.md", *sorted(RESULTS.glob("*.md"))]
    pages = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for title, table in benchmark("results_tables").tables():
        assert table in pages, title


def searches(*curves):
    """Give what ablations.py writes of a variant: a curve by seed."""
    return [
        {
            "curve": [
                {"trained": trained, "valid": 0.7 + ahead, "test": 0.8 + ahead}
                for trained, ahead in curve
            ],
            "bce": {"test": 0.8},
            "seed": seed,
            "looks": [25, 50, 100, 200, 400],
        }
        for seed, curve in enumerate(curves)
    ]


def test_ablations_are_paired_with_bce_at_each_mark(benchmark):
    curves = benchmark("ablation_curves")
    found = searches([(80, 0.002), (310, 0.004)], [(90, 0.004)], [(60, 0.006)])
    half = 0.002 / 3**0.5 * 4.30265
    assert curves.ahead(found, 50) == pytest.approx((0.004, half, 3), rel=1e-4)
    assert curves.ahead(found, 100).seeds == 0  # what was found later does not count
    mean, half, seeds = curves.ahead(found, 200)
    assert (round(mean, 6), np.isnan(half), seeds) == (0.004, True, 1)


def test_ablations_are_compared_seed_by_seed(benchmark):
    curves = benchmark("ablation_curves")
    mine = searches([(60, 0.001)], [(60, 0.003)], [(60, 0.002)], [(60, 0.009)])
    other = searches([(60, 0.0)], [(60, 0.001)], [(60, 0.002)])  # one seed less
    half = 0.001 / 3**0.5 * 4.30265
    assert curves.beyond(mine, other, 50) == pytest.approx((0.001, half, 3), rel=1e-4)
    variants = dict.fromkeys(("evolution", "evolution, seeds", "evolution, paper filter"), mine)
    variants |= dict.fromkeys(("random", "random, raw reward"), other)
    variants |= {"evolution, raw reward": mine, "evolution, paper filter, raw reward": mine}
    rows = [row.split(" | ")[:3] for row in curves.contrasts(variants).splitlines()[2:]]
    ahead, same = "+0.0010 ± 0.0025 (3 of 4 seeds)", "+0.0000 ± 0.0000"
    assert rows == [
        ["| evolution", "random", ahead],
        ["| evolution, raw reward", "random, raw reward", ahead],
        ["| random, raw reward", "random", same],
        ["| evolution, raw reward", "evolution", same],
        ["| evolution, paper filter, raw reward", "evolution, paper filter", same],
        ["| evolution, paper filter", "evolution", same],
        ["| evolution, paper filter, raw reward", "evolution, raw reward", same],
        ["| evolution, seeds", "evolution", same],
    ]


def test_ablations_count_the_trainings_to_reach_random_search(benchmark):
    curves = benchmark("ablation_curves")
    random = searches([(60, 0.001), (240, 0.003), (410, 0.003)], [(60, 0.001)])
    fast = searches([(60, 0.004)], [(120, 0.001)])
    slow = searches([(60, 0.002)], [])
    assert curves.to_reach(fast, random) == [0.25, 2]
    assert curves.to_reach(slow, random) == [np.inf, np.inf]
    early = searches([(30, 0.004)], [(120, 0.001)])
    assert curves.to_reach(early, random) == [0.125, 2]  # of 30 and of 240 trainings
    early[1]["looks"] = [50, 100, 200, 400]  # so what the other seed had before 50 does not count
    assert curves.to_reach(early, random) == [np.inf, 2]


def test_the_table_of_ablations_has_every_variant(benchmark):
    curves = benchmark("ablation_curves")
    variants = {
        "random": searches([(60, 0.001), (230, 0.002)], [(60, 0.001)]),
        "fast": searches([(60, 0.002)]),
        "slow": searches([(60, 0.001)]),
    }
    rows = curves.table(variants).splitlines()
    assert rows[2] == "| random | +0.0010 | – | +0.0020 (1 of 2 seeds) | – |  |  |"
    assert rows[3] == "| fast | +0.0020 | – | – | – | 0.26 |  |"
    assert rows[4] == "| slow | +0.0010 | – | – | – | more |  |"
    labels = curves.plot(variants).legends[0].get_texts()
    assert [text.get_text() for text in labels] == ["random", "fast", "slow"]


def test_the_plot_of_ablations_has_a_panel_for_each_filter_and_scale(benchmark):
    curves, found = benchmark("ablation_curves"), searches([(60, 0.001)])
    names = ["random", "evolution", "random, paper filter, raw reward", "random, seeds"]
    variants = dict.fromkeys(names, found)
    assert {title: [*lines] for title, lines in curves.panels(variants).items()} == {
        "graded filter": ["random", "evolution"],
        "graded filter, raw reward": [],
        "paper filter": [],
        "paper filter, raw reward": ["random"],
        "options of random": ["random", "seeds"],
    }
    figure = curves.plot(variants)
    assert [axes.get_title() for axes in figure.axes] == [*curves.panels(variants)]
    colors = [line.lines[0].get_color() for axes in figure.axes for line in axes.containers]
    assert colors[0] == colors[2] == colors[3]  # one method, one colour
    assert len({*colors}) == 3


def test_ablations_are_of_every_method_filter_and_scale(benchmark):
    variants, curves = benchmark("ablations").VARIANTS, benchmark("ablation_curves")
    assert {*curves.panels(variants)} == {*curves.PANELS.values()}  # none is taken for an option
    assert len({tuple(changes.items()) for changes in variants.values()}) == len(variants) == 16
    reinforce = variants["reinforce, paper filter, raw reward"]
    assert reinforce["policy"] == "reinforce"
    assert reinforce["generation.reward_scale"] == "raw"
    assert reinforce["reinforce.below_average"] == -1
    assert (reinforce["filter"], reinforce["reinforce.explore"]) == ("paper", 0.0)


def test_the_test_metric_is_that_of_the_epoch_and_rate_that_validation_picks(benchmark):
    scratch = benchmark("scratch")
    chooses = np.array([[[0.1, 0.2], [0.9, 0.3]], [[0.4, 0.3], [0.5, 0.6]]])  # [E, J, V]
    test = np.arange(8.0).reshape(2, 2, 2)
    assert scratch.Curves(chooses, test).best().tolist() == [4.0, 2.0]


def test_the_correlation_is_of_ranks_and_its_interval_over_losses(benchmark):
    fidelity = benchmark("fidelity")
    worth = np.linspace(0.5, 0.8, 64)
    same = fidelity.correlation(np.exp(30 * worth), worth)
    assert [same[name] for name in ("correlation", "low", "high")] == pytest.approx([1, 1, 1])
    assert same["best_of_sixteenth"] == 0.8
    assert same["mean_of_sixteenth"] == pytest.approx(worth[-4:].mean())
    noise = fidelity.correlation(np.random.default_rng(0).random(64), worth)
    assert noise["low"] < 0 < noise["high"]
    assert abs(noise["correlation"]) < 0.3


def test_slopes_of_powers_are_those_of_losses_that_have_such(benchmark):
    ceiling = benchmark("ceiling")
    logit, label = jnp.linspace(-4, 4, 9), jnp.array([0.0, 1.0] * 4 + [1.0])
    known = {"bce": (ceiling.BCE, 1.0), "mse": (ceiling.Powers(2.0, 1.0, 0.0, 1.0, 2.0), 2.0)}
    for name, (powers, scale) in known.items():
        expected = jax.grad(partial(named_loss(name), labels=label, reduce_fn=jnp.sum))(logit)
        np.testing.assert_allclose(
            scale * ceiling.slope(powers, logit, label), expected, atol=1e-5, err_msg=name
        )
    halved = ceiling.BCE._replace(log_weight=np.log(0.5))
    slopes = ceiling.slope(halved, logit, label) / ceiling.slope(ceiling.BCE, logit, label)
    np.testing.assert_allclose(slopes, np.where(label > 0.5, 0.5, 1.0), rtol=1e-5)


def test_the_fair_test_sees_the_slopes_of_powers(benchmark):
    ceiling = benchmark("ceiling")
    logit, label = jnp.linspace(-4, 4, 9), jnp.array([0.0, 1.0] * 4 + [1.0])
    powers = ceiling.Powers(1.9, 3.2, -2.1, 0.1, 5.7)
    loss = ceiling.as_loss(powers)
    _, seen = jax.jvp(lambda z: loss(z, label, reduce_fn=None), (logit,), (jnp.ones(9),))
    np.testing.assert_allclose(seen, ceiling.slope(powers, logit, label), rtol=1e-6)


def test_folds_deal_the_rows_of_each_user(benchmark):
    user = np.random.default_rng(0).integers(0, 40, 1001)
    fold = benchmark("cross_validation").fold_of(user, 5)
    table = np.zeros((40, 5), int)
    np.add.at(table, (user, fold), 1)
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(0)) <= 1


def test_each_row_is_judged_once_and_trained_on_in_all_other_folds(benchmark):
    rows = np.arange(53.0, dtype=np.float32)
    parts = [
        Batch({"user": part.astype(int) % 7}, part, np.ones_like(part))
        for part in (rows[:40], rows[40:])
    ]
    on = SimpleNamespace(
        splits=dict(zip(("full_train", "valid"), parts, strict=True)),
        everywhere=jax.devices()[0],
    )
    splits = list(benchmark("cross_validation").folds(on, 5))
    judged = np.concatenate([each.valid.label for each in splits])
    assert len(set(judged)) == len(judged) == 50  # three folds have a row more
    for each in splits:
        assert len(each.train.label) == 53 - 11
        assert not set(np.asarray(each.train.label)) & set(np.asarray(each.valid.label))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[", "expected the results.json of a search"),
        ("{}", "KeyError"),
        ('{"losses": []}', "has 0 settings"),
    ],
)
def test_what_is_no_result_of_a_search_is_not_cross_validated(benchmark, tmp_path, text, told):
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(SystemExit, match=told):
        benchmark("cross_validation").read(str(file))


def test_bounds_without_an_end_are_read_as_such(benchmark):
    on = SimpleNamespace(usual=[], task=RATING)
    row = {"name": "found-1", "tokens": ["pred"], "found": True, "bounds": [None, 5.0]}
    (loss,) = benchmark("cross_validation").contenders_of([row], on)
    assert loss.loss.bounds == (-np.inf, 5.0)
