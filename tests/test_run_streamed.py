"""Data that stay in their file through the command line, and what promotion judges by."""

from types import SimpleNamespace

import pytest

from configs import base, csv, stream
from data.file_generator import write_synthetic_stream
from finalists import judging
from tests.run_server import results


def test_a_stream_goes_through_all_phases(server, tmp_path):
    place = write_synthetic_stream(
        tmp_path / "rows.arrow", num_users=40, num_items=50, num_rows=6000, chunk=1000
    )
    done = server.run(
        "--config=configs/stream.py:smoke",
        f"--config.data.path={place}",
        "--config.data.held_out=1500",
        "--config.data.piece=2000",
        "--config.model.width=4",
        "--config.train.batch_size=256",
        "--config.train.interactions=2000",
        "--config.contenders.baselines=('bce','mse')",
        f"--workdir={tmp_path / 'run'}",
    )
    assert (done.code, done.err) == (0, "")
    losses = results(tmp_path / "run")["losses"]
    assert {"bce", "mse"} <= {loss["name"] for loss in losses}
    assert sum(loss["found"] for loss in losses) == 1


@pytest.mark.parametrize(
    ("config", "of_ranks", "changes", "names"),
    [
        (base, False, {}, ["reward", "valid"]),
        (csv, False, {"data.reward_split": "valid"}, ["valid"]),
        (stream, False, {}, ["reward", "valid"]),
        (base, True, {}, ["reward"]),
        (base, True, {"implicit.test_candidates": 200}, ["reward", "valid"]),
    ],
)
def test_promotion_judges_by_splits_that_compare(config, of_ranks, changes, names):
    config = config.get_config()
    config.update_from_flattened_dict(changes)
    task = SimpleNamespace(metric=SimpleNamespace(of_ranks=of_ranks))
    splits = {name: name for name in ("train", "reward", "valid", "test")}
    assert judging(SimpleNamespace(config=config, task=task, splits=splits)) == names
