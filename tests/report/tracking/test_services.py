"""Weights & Biases and MLflow, offline, by the packages themselves."""

import json
import struct

import pytest

from autolossgen.report import Journal, TrackerError, Trackers, check_trackers, open_trackers
from autolossgen.report.tracking import TRACKERS
from tests.helpers.run_server import wait_for

BLOCK = 32768
CONFIG = {"seed": 3, "space": {"initial_losses": ("mse",)}, "data": {"threshold": None}}


def follow_run(name, folder, generation, results, *, keep=0):
    """Tells a tracker of two generations after those that are kept, and of all phases."""
    with open_trackers((name,), folder, CONFIG) as trackers:
        journal = Journal(folder, keep=keep, trackers=trackers)
        for number in (keep + 1, keep + 2):
            journal.write(generation(number))
        follow = trackers.make_follower()
        for epoch in range(3):
            follow("tuning", epoch, 2, {"softplus(-diff / c0)": 0.5} if epoch else {})
        trackers.log_results(results)


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return mlflow.MlflowClient()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_has_settings_curves_formula_and_outcome(
    mlflow_client, tmp_path, generation, make_results
):
    folder = tmp_path / "my-run"
    folder.mkdir()
    follow_run("mlflow", folder, generation, make_results())
    follow_run("mlflow", folder, generation, make_results(), keep=2)
    experiment = mlflow_client.get_experiment_by_name("autolossgen")
    (run,) = mlflow_client.search_runs([experiment.experiment_id])  # it went on as one
    assert run.info.run_name == "my-run"
    assert run.info.status == "FINISHED"
    assert run.data.params["space.initial_losses"] == "('mse',)"
    assert run.data.tags["best_formula"] == generation(1)["best_formula"]
    assert run.data.tags["loss_to_use"] == "found(pred, label)"
    assert run.data.metrics["found-1/test_auc"] == pytest.approx(0.81)
    history = mlflow_client.get_metric_history(run.info.run_id, "trained_total")
    assert [(point.step, point.value) for point in history] == [(k, 64 * k) for k in (1, 2, 3, 4)]
    curve = mlflow_client.get_metric_history(run.info.run_id, "tuning/softplus_-diff / c0_")
    assert {point.step for point in curve} == {1, 2}


def read_log(raw):
    """The records of a file of Weights & Biases: LevelDB's log format, behind 7 bytes."""
    at, whole = 7, b""
    while at + 7 <= len(raw):
        if BLOCK - at % BLOCK < 7:  # too short for a header
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", raw, at + 4)
        whole += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # full, or the last part
            yield whole
            whole = b""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "DISABLE_GIT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    return wandb


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_weights_and_biases_has_settings_curves_formula_and_outcome(
    wandb, tmp_path, generation, make_results
):
    from wandb.proto.wandb_internal_pb2 import Record

    folder = tmp_path / "my-run"
    folder.mkdir()
    follow_run("wandb", folder, generation, make_results())
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    wait_for(lambda: list(read_log(path.read_bytes())), seconds=30)  # its process writes it
    records = [Record.FromString(raw) for raw in read_log(path.read_bytes())]
    (run,) = {(r.run.project, r.run.display_name) for r in records if r.HasField("run")}
    assert run == ("autolossgen", "my-run")
    points = [
        {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in r.history.item}
        for r in records
        if r.HasField("history")
    ]
    assert [p["trained_total"] for p in points if "trained_total" in p] == [64, 128]
    assert [p["tuning/epoch"] for p in points if "tuning/softplus(-diff / c0)" in p] == [1, 2]
    summary = {
        (item.key or item.nested_key[0]): json.loads(item.value_json)
        for r in records
        if r.HasField("summary")
        for item in r.summary.update
    }
    assert summary["loss_to_use"] == "found(pred, label)"
    assert summary["found_minus_best_baseline"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("wanbd",), "did you mean 'wandb'"),
        ("wandb", r"a tuple of names, as in \('wandb',\)"),
        (("tensorboard",), "events are always written"),
    ],
)
def test_what_is_no_tracker_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_trackers(names)


class Failing:
    """A tracker whose service is gone after a while."""

    def __init__(self):
        self.told = []

    def log_scalars(self, scalars, step, axis):
        self.told.append(step)
        if step > 1:
            raise ConnectionError("the service is gone")

    def __getattr__(self, name):
        return lambda *arguments, **keywords: False


def test_a_tracker_that_fails_does_not_end_the_run(generation):
    failing, other, said = Failing(), Failing(), []
    other.log_scalars = lambda scalars, step, axis: other.told.append(step)
    trackers = Trackers({"mlflow": failing, "wandb": other}, said.append)
    for number in (1, 2, 3):
        trackers.log_generation(generation(number))
    assert (failing.told, other.told) == ([1, 2], [1, 2, 3])
    assert said == ["mlflow fails, and is told no more of this run: the service is gone"]


def test_a_service_that_does_not_begin_is_named(tmp_path, monkeypatch):
    def refuse(folder, config):
        raise RuntimeError("No API key configured.")

    kind = TRACKERS["wandb"]._replace(module="json", make=refuse)
    monkeypatch.setitem(TRACKERS, "wandb", kind)
    with (
        pytest.raises(TrackerError, match=r"wandb does not begin: No API key configured\."),
        open_trackers(("wandb",), tmp_path, CONFIG),
    ):
        pass


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'autolossgen\[mlflow\]'"):
        check_trackers(("mlflow",))
