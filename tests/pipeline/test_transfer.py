"""Transfer through the command line, on data so small that a cell takes seconds."""

import csv
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from autolossgen.configs.transfer import get_config
from autolossgen.interfaces import Batch
from autolossgen.pipeline import checks
from autolossgen.pipeline.transfer import make_cells, make_transfer, read_given_losses
from tests.helpers.run_server import assert_one_line, contents, wait_for

pytestmark = pytest.mark.slow

CONFIG = """
from autolossgen.configs import synthetic

def get_config(preset=""):
    config = synthetic.get_config("smoke").unlock()
    config.data.update(num_users=40, num_items=50, num_interactions=1500, seed={seed})
    config.train.batch_size = 256
    return config
"""
# The splits of both are of the same sizes, so that the cells run the same compiled programs.
SEEDS = {80: "one", 178: "two"}
GIVEN = "label * square(1 - pred) + square(pred)"
QUICK = (
    "--config=configs/transfer.py:smoke",
    "--config.model.embedding_dim=4",
)
FILES = {"config.json", "data.json", "results.json", "results.csv", "matrix.csv", "report.html"}
OWN = {"run.log", "run.lock", "command.txt"}  # of the whole transfer alone


def losses_of(folder):
    return json.loads((folder / "results.json").read_text())["losses"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two data sets as config files, and a hall of fame."""
    folder = tmp_path_factory.mktemp("transfer")
    for seed, name in SEEDS.items():
        (folder / f"{name}.py").write_text(CONFIG.format(seed=seed))
    rows = "1,square(pred),false\n2,square(label - pred * pred),true\n3,abs(label - pred),true\n"
    (folder / "hall_of_fame.csv").write_text("rank,formula,sound\n" + rows)
    return folder


def asked(place, *more, **changes):
    """Returns the arguments; a tuple given twice would be both."""
    wanted = {
        "losses": ("logmin", GIVEN, str(place / "hall_of_fame.csv")),
        "models": ("biased_mf",),
        "datasets": (str(place / "one.py"), str(place / "two.py")),
    }
    asked_for = {**wanted, **changes}.items()
    tuples = [f"--config.transfer.{key}={value}" for key, value in asked_for]
    if not any("baselines" in argument for argument in more):
        tuples.append("--config.contenders.baselines=('bce','mse')")
    return (*QUICK, *tuples, *more)


@pytest.fixture(scope="module")
def done(place, server):
    """A transfer that is killed after its first cell, and goes on."""
    folder = place / "run"
    killed = server.start(*asked(place), f"--workdir={folder}")
    first = folder / "biased_mf-one"
    wait_for(lambda: (first / "report.html").exists())
    os.kill(killed.pid, signal.SIGKILL)
    assert "  source: generated, seed=80" in killed.wait().out
    assert not (folder / "results.json").exists()
    before = contents(first)
    finished = server.run(*asked(place), f"--workdir={folder}")
    return folder, finished, before


def test_every_loss_is_tested_in_every_cell(done):
    folder, finished, _ = done
    assert (finished.code, finished.err) == (0, "")
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert {name for name in files if not name.startswith("events.")} == FILES | OWN
    names = ["bce", "mse", "logmin", "given", "found-2"]
    assert [loss["name"] for loss in losses_of(folder)] == 2 * names
    for cell in ("one", "two"):
        own = losses_of(folder / f"biased_mf-{cell}")
        assert own == [loss for loss in losses_of(folder) if loss["dataset"] == cell]
        assert [loss["found"] for loss in own] == [False] * 3 + [True] * 2
        assert sum(loss["vs_best_baseline"] is None for loss in own) == 1
    formulas = {loss["name"]: loss["formula"] for loss in losses_of(folder)}
    assert formulas["found-2"] == "square(label - square(pred))"  # simplified


def test_the_matrix_is_that_of_the_results(done):
    folder, finished, _ = done
    with (folder / "matrix.csv").open() as file:
        matrix = {row["loss"]: row for row in csv.DictReader(file)}
    for loss in losses_of(folder):
        title = f"biased_mf on {loss['dataset']}"
        row = matrix[loss["name"]]
        assert float(row[f"{title}: auc"]) == loss["test"]["auc"]["mean"]
        against = loss["vs_best_baseline"]
        if against is None:
            assert row[f"{title}: verdict"] == "best baseline"
        else:
            assert float(row[f"{title}: difference"]) == against["difference"]
            assert float(row[f"{title}: users high"]) == against["ci95_users"][1]
        assert f"{loss['test']['auc']['mean']:.4f}" in finished.out
    page = (folder / "report.html").read_text()
    assert "Every loss on every model and data set" in page


def test_a_finished_cell_is_not_run_again(done):
    folder, finished, before = done
    assert contents(folder / "biased_mf-one") == before
    # The notes of the data are those of the other cell.
    assert finished.out.count("  source: generated, seed=") == 1
    assert "  source: generated, seed=178" in finished.out


def transferred(preset="", **changes):
    config = get_config(preset)
    config.update_from_flattened_dict(
        {"transfer.datasets": ("ml100k", "movietweetings"), **changes}
    )
    return make_cells(config)


@pytest.mark.parametrize("preset", ["", "smoke", "paper", "thorough", "adagrad"])
def test_cells_have_the_data_of_their_configs_and_all_else_of_the_transfers(preset):
    every = transferred(preset, **{"transfer.models": ("deep",), "test.epochs": 7})
    assert list(every) == ["deep-ml100k", "deep-movietweetings"]
    assert [one.data.threshold for one in every.values()] == [3.0, 7.0]
    assert {(one.model.name, one.test.epochs) for one in every.values()} == {("deep", 7)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.split": "random"}, r"data from the configs .* read data\.split"),
        ({"data.features": ("age",)}, r"data\.features=\('age',\)"),
        ({"data.name": "ml1m", "data.path": "x"}, r"data\.name='ml1m'"),
        ({"train.batch_size": 64}, r"train\.batch_size=64: set it there, in a config file of your"),
        ({"model.name": "deep"}, r"takes model\.name from transfer\.models, .*'deep'"),
        ({"transfer.datasets": ("ml100k_ranking",)}, r"space\.family is .pairwise., .* .point"),
        ({"transfer.datasets": ("transfer",)}, "'transfer', which is a transfer itself"),
    ],
)
def test_what_no_cell_would_take_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        transferred(**change)


def test_a_data_set_that_wants_another_reward_is_refused(place):
    text = CONFIG.format(seed=0).replace("return", "config.search.reward = 'ndcg@5'\n    return")
    (place / "ranked.py").write_text(text)
    wanted = {"transfer.datasets": (str(place / "ranked.py"),)}
    with pytest.raises(ValueError, match=r"give --config\.search\.reward=ndcg@5"):
        transferred(**wanted)
    assert list(transferred(**wanted, **{"search.reward": "ndcg@5"})) == [
        "biased_mf-ranked",
        "deep-ranked",
    ]


def test_the_memory_check_counts_every_loss_of_a_file(place, tmp_path, monkeypatch):
    def full(need, widths, mesh, **options):
        for what, lanes in widths.items():
            if "fair test's tuning" in what:
                raise ValueError(f"{what} {lanes}")

    monkeypatch.setattr(checks, "check_memory", full)
    config = get_config("smoke")
    config.contenders.update(baselines=("bce", "mse", "hinge"), found=2)
    config.devices = 1
    config.test.learning_rates = (1.0,)
    config.transfer.losses = (str(place / "hall_of_fame.csv"),)
    config.transfer.datasets = (str(place / "one.py"),)
    counted = r"5 losses \(contenders\.baselines and transfer\.losses\) at 1 settings.* 5$"
    with pytest.raises(ValueError, match=counted):
        make_transfer(config, tmp_path, Console(quiet=True))


@pytest.mark.parametrize(
    ("devices", "rates", "streamed", "tuning", "testing"),
    [
        (1, (1.0, 2.0), False, (8, 2), (4, 4)),
        (2, (1.0, 2.0), False, (8, 2), (8, 2)),  # a seed on each device
        (2, (1.0,), False, (8, 1), (8, 2)),
        (2, (1.0,), True, (8, 2), (8, 4)),
    ],
)
def test_the_memory_check_counts_seeds(devices, rates, streamed, tuning, testing, monkeypatch):
    """Lanes that train, and how many others wait for their turn."""
    seen = {}

    def noted(need, widths, mesh, *, waiting=0, **options):
        (what,) = widths if len(widths) == 1 else ("",)
        seen.update(
            {
                stage: (widths[what], waiting)
                for stage in ("tuning", "testing")
                if f"'s {stage}" in what
            }
        )

    monkeypatch.setattr(checks, "check_memory", noted)
    config = get_config("smoke")
    config.test.update(learning_rates=rates, weight_decays=(0.0,), tuning_seeds=3, seeds=5)
    shape = SimpleNamespace(size=devices)
    checks.check_fits_memory(config, None, {"a.width": 1, "b.width": 1}, shape, {"x": 4}, streamed)
    assert seen == {"tuning": tuning, "testing": testing}


@pytest.mark.parametrize(
    ("epochs", "interactions", "losses", "most"),
    [(1, 0, (), 120), (6, 0, (), 600), (6, 30, (), 180), (6, 1, (), 120), (6, 0, ("mse",), 120)],
)
def test_the_memory_check_counts_the_epochs_of_candidates(epochs, interactions, losses, most):
    config = get_config()
    config.generation.epochs, config.train.interactions = epochs, interactions
    config.transfer.losses = losses
    train, full_train = (Batch({"user": np.arange(n)}, np.ones(n), np.ones(n)) for n in (100, 120))
    assert checks.max_examples_at_once(config, train, full_train) == most


def given_losses(*losses):
    config = get_config()
    config.transfer.losses = losses
    return read_given_losses(config)


def test_a_runs_losses_are_clipped_as_its_config_says(tmp_path):
    """BCE's first half is flat where log is clipped at 1e-5, as in the paper."""
    formula = "-(label * log(pred))"
    (tmp_path / "hall_of_fame.csv").write_text(f"rank,formula,sound\n1,{formula},true\n")
    settings = {"space": {"family": "pointwise", "bounds": [1e-5, 1e5]}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    for source in (tmp_path, tmp_path / "hall_of_fame.csv"):
        theirs, ours = given_losses(str(source), formula)
        assert (theirs.formula, theirs.loss.bounds) == (ours.formula, (1e-5, 1e5))
        values = [float(loss.loss(np.zeros(1), np.ones(1))) for loss in (theirs, ours)]
        assert values == pytest.approx([1e-5, np.log(2)], rel=1e-3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "runs/ml100q",
            "'runs/ml100q', which is no name of a loss, no folder or CSV file that is ",
        ),
        ("logmn", r"'logmn', which is no name of a loss \(did you mean 'logmin'\?\)"),
        ("square(label -", "and no formula: .*expected"),
    ],
)
def test_the_error_for_no_loss_names_all_that_it_could_be(source, message):
    with pytest.raises(ValueError, match=message):
        given_losses(source)


def test_a_run_of_the_other_family_is_said(tmp_path):
    (tmp_path / "hall_of_fame.csv").write_text("rank,formula,sound\n1,square(diff),true\n")
    (tmp_path / "config.json").write_text(json.dumps({"space": {"family": "pairwise"}}))
    with pytest.raises(ValueError, match=r"losses are pairwise, .* --config\.space\.family=pairw"):
        given_losses(str(tmp_path))


def test_interactions_judge_pairwise_losses(place, server, tmp_path):
    new = compare_one_loss(
        place, server, tmp_path / "run", ("bpr", "square(1 - diff)"), "pairwise", "user_auc"
    )
    assert new["name"] == "given"
    assert {"auc", "user_auc", "f1"} <= set(new["test"])


def test_rankings_judge_the_tested_found_loss_of_another_runs_folder(place, done, server, tmp_path):
    source = done[0] / "biased_mf-two"
    new = compare_one_loss(
        place, server, tmp_path / "run", ("bce", str(source)), "pointwise", "ndcg@5"
    )
    # contenders.found is 1 in the smoke preset: the better of two on validation.
    both = [loss for loss in losses_of(source) if loss["found"]]
    assert new["formula"] == max(both, key=lambda x: x["valid"]["auc"])["formula"]
    assert {"ndcg@5", "recall@10", "hit@10", "mrr"} <= set(new["test"])


def compare_one_loss(place, server, folder, losses, family, reward):
    """Tests one loss against one baseline, by the metric of the reward; returns its record."""
    changes = (
        f"--config.space.family={family}",
        f"--config.search.reward={reward}",
        f"--config.contenders.baselines=('{losses[0]}',)",
    )
    given = {"losses": losses[1:], "datasets": (str(place / "one.py"),)}
    ran = server.run(*asked(place, *changes, **given), f"--workdir={folder}")
    assert ran.code == 0, ran.err
    baseline, new = losses_of(folder)
    assert (baseline["name"], new["found"]) == (losses[0], True)
    assert "logloss" not in new["test"]
    against = new["vs_best_baseline"]
    assert against["metric"] == reward
    paired = new["test"][reward]["mean"] - baseline["test"][reward]["mean"]
    assert against["difference"] == pytest.approx(paired)
    return new


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"losses": ("square(label -",)}, ["expected"]),
        ({"losses": ("none/hall_of_fame.csv",)}, ["cannot be read", "folder of a run"]),
        ({"losses": ("bpr",)}, ["pointwise losses", "'bpr'"]),
        ({"datasets": ("ml100",)}, ["'ml100'", "did you mean 'ml100k'?"]),
        ({"datasets": ("ml100k=nowhere",)}, ["nowhere"]),
        ({"datasets": ()}, ["at least one"]),
        ({"models": ("biased_mf", "biased_mf")}, ["'biased_mf' on 'one' twice"]),
        ({"models": ("biased",)}, ["model 'biased'"]),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_trains(
    place, command, tmp_path, change, fragments
):
    folder = tmp_path / "run"
    ran = command(*asked(place, **change), f"--workdir={folder}")
    assert_one_line(ran, 1, *fragments)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (("--config.search.reward=acu",), ["'acu' is no metric", "did you mean 'auc'?"]),
        (
            ("--config.search.reward=rmse", "--config.space.family=pairwise"),
            ["only order items", "choose one of auc"],
        ),
        (("--config.search.reward=ndcg",), ["as in 'ndcg@10'"]),
    ],
)
def test_a_reward_that_cannot_be_is_one_line(command, tmp_path, change, fragments):
    ran = command("--config=configs/synthetic.py:smoke", *change, f"--workdir={tmp_path / 'r'}")
    assert_one_line(ran, 1, *fragments)
    assert not (tmp_path / "r").exists()
