"""Data that stay in their file through the command line."""

import pytest

from tests.helpers.file_generator import write_synthetic_stream
from tests.helpers.run_server import SMALL_SEARCH, results

pytestmark = pytest.mark.slow


def test_a_stream_goes_through_all_phases(server, tmp_path):
    place = write_synthetic_stream(
        tmp_path / "rows.arrow", num_users=40, num_items=50, num_rows=6000, chunk=1000
    )
    done = server.run(
        "--config=configs/stream.py:smoke",
        f"--config.data.path={place}",
        "--config.data.held_out=1500",
        "--config.data.piece=2000",
        *SMALL_SEARCH,
        "--config.train.interactions=2000",
        "--config.contenders.baselines=('bce','mse')",
        f"--workdir={tmp_path / 'run'}",
    )
    assert (done.code, done.err) == (0, "")
    losses = results(tmp_path / "run")["losses"]
    assert {"bce", "mse"} <= {loss["name"] for loss in losses}
    assert sum(loss["found"] for loss in losses) == 1
    assert "no recommender is kept of data that stay in their file" in done.out
    assert not (tmp_path / "run" / "recommender").exists()
    assert "recommend" not in (tmp_path / "run" / "README.md").read_text()
