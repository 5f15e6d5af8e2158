"""A limited search through the command line: the rest of the run follows."""

import json
import shutil

import pytest

from tests.helpers.run_server import SCHEDULE, SMOKE, TINY, assert_one_line, results

pytestmark = pytest.mark.slow

RUN = (*TINY, *SCHEDULE, "--config.contenders.found=0")


@pytest.fixture(scope="module")
def limited(server, tmp_path_factory):
    """A run that a limit ends."""
    folder = tmp_path_factory.mktemp("runs") / "limited"
    arguments = (*RUN, "--config.search.candidates=1", f"--workdir={folder}")
    return folder, server.run(*arguments), results(folder)


def test_a_run_that_a_limit_ended_is_checked_and_tested(limited):
    folder, done, found = limited
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert 0 < len(entries) < 24
    assert (done.code, done.err) == (0, "")
    assert done.out.count(f"the search ended after generation {len(entries)}: ") == 1
    assert found["search"]["trained"] == entries[-1]["trained_total"] >= 1
    assert (folder / "hall_of_fame.csv").exists()


def test_a_finished_run_goes_on_with_another_limit_without_its_results(limited, server, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(limited[0], folder)
    further = (*RUN, "--config.search.candidates=40", f"--workdir={folder}")
    done = server.run(*further)
    assert_one_line(done, 1, "this run, finished (search.candidates is 1 there and 40 here)")
    assert str(folder / "results.json") in done.err
    before = results(folder)
    (folder / "results.json").unlink()
    done = server.run(*further)
    assert (done.code, done.err) == (0, "")
    assert "going on after generation" in done.out
    assert results(folder)["search"]["sampled"] > before["search"]["sampled"]


@pytest.mark.parametrize(
    ("argument", "fragment"),
    [
        ("--config.search.candidates=-1", "search.candidates is at least 0, got -1"),
        ("--config.search.seconds=-0.5", "search.seconds is at least 0, got -0.5"),
        ("--config.search.seconds=nan", "search.seconds is at least 0, got nan"),
        ("--config.search.target=1.5", "search.target is a reward, from 0 to 1, or None, got 1.5"),
        ("--config.search.target=nan", "search.target is a reward"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(server, argument, fragment, tmp_path):
    done = server.run(SMOKE, argument, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, fragment)
