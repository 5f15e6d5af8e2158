"""A limited search through the command line: the rest of the run follows."""

import json

import pytest

from tests.run_server import SMOKE, TINY, assert_one_line, results

QUICK = ("--config.contenders.found=0", "--config.contenders.baselines=('bce',)")


@pytest.fixture(scope="module")
def limited(server, tmp_path_factory):
    """A run that a limit ends."""
    folder = tmp_path_factory.mktemp("runs") / "limited"
    arguments = (*TINY, *QUICK, "--config.search.candidates=1", f"--workdir={folder}")
    return folder, server.run(*arguments), results(folder)


def test_a_run_that_a_limit_ended_is_checked_and_tested(limited):
    folder, done, found = limited
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert 0 < len(entries) < 24
    assert (done.code, done.err) == (0, "")
    assert done.out.count(f"the search ended after generation {len(entries)}: ") == 1
    assert found["search"]["trained"] == entries[-1]["trained_total"] >= 1
    assert (folder / "hall_of_fame.csv").exists()


def test_another_limit_is_another_run(limited, server):
    done = server.run(*TINY, *QUICK, "--config.search.candidates=2", f"--workdir={limited[0]}")
    assert_one_line(done, 1, "another config (search.candidates is 1 there and 2 here)")


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
