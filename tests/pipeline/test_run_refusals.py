"""What the command line refuses, in one line and before anything is written."""

import subprocess
import sys

import pytest

from autolossgen.configs.command_line import read_command_line
from autolossgen.pipeline.workdir import claim_workdir
from autolossgen.training.devices import ProcessError, connect_processes
from tests.helpers.run_server import ROOT, SMOKE, TINY, assert_one_line, contents

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("argument", "fragments"),
    [
        ("--config.search.generation=3", ["'generation' (did you mean 'generations'?)"]),
        ("--wordkir=x", ["'wordkir'", "Did you mean: workdir"]),
        ("--config=configs/ml100k.py:quick", ["'quick' is not known", "smoke, paper"]),
        ("--config=configs/ml10m.py", ["No such file", "configs/ml10m.py"]),
        ("--config.model.embedding_dim=wide", ["--config.model.embedding_dim=wide", "'wide'"]),
        ("go", ["got 'go'"]),
    ],
)
def test_bad_usage_is_one_line_and_status_2(command, argument, fragments, tmp_path):
    folder = tmp_path / "run"
    done = command(argument, f"--workdir={folder}")
    assert_one_line(done, 2, *fragments)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("argument", "fragments"),
    [
        (
            "--config.policy.name=reinforced",
            ["policy.name 'reinforced'", "risk_seeking, evolution, random"],
        ),
        ("--config.filter.name=strict", ["filter.name 'strict'", "graded, paper"]),
        ("--config.model.name=biased", ["model 'biased'", "biased_mf"]),
        (
            "--config.model.name=autolossgen.models.deep:Dep",
            ["has no 'Dep'", "did you mean 'Deep'?"],
        ),
        ("--config.model.options={'depth': 3}", ["BiasedMF has no options", "'depth'"]),
        ("--config.space.operators=('add','sqare')", ["'sqare'", "did you mean 'square'?"]),
        ("--config.space.operands=()", ["at least one operand"]),
        ("--config.space.bounds=(1,)", ["a tuple of 2 numbers, got (1,)"]),
        ("--config.space.bounds=(1,1)", ["low < high"]),
        ("--config.space.initial_losses=('bce','bec')", ["'bec'", "did you mean 'bce'?"]),
        ("--config.generation.reward_scale=loud", ["'gradient' or 'raw'", "'loud'"]),
        ("--config.generation.epochs=0", ["at least 1 epoch (generation.epochs), got 0"]),
        ("--config.generation.epochs=1000000000", ["lanes fit", "fewer generation.epochs"]),
        ("--config.generation.num_lanes=1", ["generation.num_lanes is at least 2", "got 1"]),
        ("--config.space.family=pairwize", ["'pairwize'", "did you mean 'pairwise'?"]),
        ("--config.promote.num_lanes=100000", ["promote.num_lanes is at most 16,384, got 100,000"]),
        ("--config.generation.num_lanes=100000", ["generation.num_lanes is at most 16,384"]),
        ("--config.search.reward=hit@100000", ["hit@100000 is 1 for every loss", "hit@10"]),
        ("--config.generation.samples=1000000000", ["generation.samples is at most 1,000,000"]),
        ("--config.generation.hall=100000", ["generation.hall is at most 65,536"]),
        ("--config.space.length=100000", ["space.length is at most 256, got 100,000"]),
        ("--config.model.embedding_dim=100000", ["model.embedding_dim is at most 8,192"]),
        ("--config.model.options={'hidden': (8, 100000)}", ["model.options['hidden'] is at most"]),
        ("--config.policy.risk_seeking.hidden_dim=100000", ["hidden_dim is at most 4,096"]),
        (
            "--config.test.seeds=1000000000",
            ["contenders.found", "for every", " of test.seeds,", "lanes fit"],
        ),
        ("--config.contenders.baselines=('bcee',)", ["'bcee'", "did you mean 'bce'?"]),
        ("--config.contenders.baselines=('bpr',)", ["pointwise losses", "'bpr'"]),
        ("--config.contenders.baselines=()", ["at least one loss"]),
        ("--config.search.candidates=-1", ["search.candidates is at least 0, got -1"]),
        ("--config.search.seconds=-0.5", ["search.seconds is at least 0, got -0.5"]),
        ("--config.search.seconds=nan", ["search.seconds is at least 0, got nan"]),
        (
            "--config.search.target=1.5",
            ["search.target is a reward, from 0 to 1, or None, got 1.5"],
        ),
        ("--config.search.target=nan", ["search.target is a reward"]),
        ("--config.search.checkpoint_every=0", ["checkpoint_every is at least 1, got 0"]),
        ("--config.test.seeds=0", ["seeds of at least 1, got 0"]),
        ("--config.test.learning_rates=(1e5,)", ["stays below", "100000.0"]),
        ("--config.devices=1000", ["devices", "1000"]),
        ("--config.devices=-1", ["devices is 0, or at most", "got -1"]),
        ("--config.data.reward_split=none", ["reward_split"]),
        ("--config.data.num_interactions=1", ["num_interactions=1"]),
        ("--config.data.name=ml10m", ["'ml10m'", "did you mean 'ml1m'?"]),
    ],
)
def test_a_value_that_cannot_be_is_one_line_and_status_1(command, argument, fragments, tmp_path):
    folder = tmp_path / "run"
    done = command(SMOKE, "--config.devices=1", argument, f"--workdir={folder}")
    assert_one_line(done, 1, *fragments)
    # Nothing is left that would refuse the command once it is right.
    assert not folder.exists()


def movielens(path, command, *more):
    return command("--config=configs/ml100k.py:smoke", f"--config.data.path={path}", *more)


def test_a_missing_data_file_is_named(command, tmp_path):
    done = movielens(tmp_path / "none.data", command, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, "none.data cannot be read", "data.path")


def test_malformed_data_is_named_with_its_line(command, tmp_path):
    path = tmp_path / "u.data"
    path.write_text("1\t1\t5\t100\n1\t2\tfive\t101\n")
    done = movielens(path, command, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, str(path), "line 2", "five")


def test_a_split_with_one_class_is_refused(command, tmp_path):
    split = tmp_path / "split"
    split.mkdir()
    rows = "".join(f"{user}\t{item}\t1\n" for user in range(1, 9) for item in range(1, 9))
    for name in ("train", "validation", "test"):
        (split / f"x.{name}.csv").write_text("uid\tiid\tlabel\n" + rows)
    done = movielens(split, command, f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, 1, "train")


@pytest.mark.parametrize(("below", "why"), [("", "is not a folder"), ("run", "Not a directory")])
def test_a_workdir_that_cannot_be_made_is_refused(command, tmp_path, below, why):
    file = tmp_path / "file"
    file.write_text("here")
    done = command(SMOKE, f"--workdir={file / below}")
    assert_one_line(done, 1, why, str(file), "choose another --workdir")
    assert file.read_text() == "here"


def test_a_folder_with_something_else_is_refused_and_left_alone(command, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    done = command(SMOKE, f"--workdir={tmp_path}")
    assert_one_line(done, 1, "is not empty and holds no run; choose another --workdir")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_broken_config_json_is_named(command, tmp_path):
    (tmp_path / "config.json").write_text("{")
    done = command(SMOKE, f"--workdir={tmp_path}")
    assert_one_line(done, 1, "config.json cannot be read")


def test_help_is_no_error(environment):
    """Without the server, as a user starts it."""
    command = [sys.executable, "run.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--config=CONFIG[:PRESET]" in done.stdout


def test_a_process_without_its_number_is_refused(server, tmp_path):
    several = {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "2"}
    done = server.run(SMOKE, f"--workdir={tmp_path / 'run'}", **several)
    assert_one_line(done, 1, "The process id of the current process must be defined")
    assert done.err.startswith("run.py: JAX_COORDINATOR_ADDRESS is set, but the processes")
    assert not (tmp_path / "run").exists()


def test_what_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ProcessError, match="is a whole number, got 'first'"):
        connect_processes()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(TINY, id="search"),
        pytest.param(
            (
                "--config=configs/topk.py:smoke",
                "--config.data.name=synthetic",
                "--config.data.num_users=40",
                "--config.data.num_items=50",
                "--config.data.num_interactions=1500",
            ),
            id="topk",
        ),
    ],
)
def test_a_run_that_began_with_other_data_does_not_go_on(command, arguments, tmp_path):
    folder = tmp_path / "run"
    config = read_command_line(["run.py", *arguments]).config
    other = {"rows": 1_501, "digests": {"user": "0"}}
    claim_workdir(folder, config.to_dict(), data=other)
    before = contents(folder)
    for words in ((), ("--dry_run",)):
        done = command(*arguments, f"--workdir={folder}", *words)
        assert_one_line(done, 1, "began with other data (rows: 1501 there and ", "values of user")
        assert contents(folder) == before
