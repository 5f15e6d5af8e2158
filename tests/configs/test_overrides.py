"""Changes of a config from a file."""

import json

import pytest

from autolossgen.configs.command_line import UsageError, read_command_line

YAML = """
name: mine
search:
  generations: 7
test:
  weight_decays: [1e-4, 0.01]
  seeds: 4
train.clip: 1.5
model:
  options: {hidden: [64, 16]}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Returns a function that reads a command line with a file of changes."""
    monkeypatch.chdir(tmp_path)

    def read_file(text, *flags, name="mine.yaml"):
        (tmp_path / name).write_text(text)
        return read_command_line(["run.py", "--config=ml100k", f"--overrides={name}", *flags])

    return read_file


def test_a_file_changes_keys_and_flags_go_before_it(read):
    config, workdir, _ = read(YAML, "--config.test.seeds=2")
    assert (config.search.generations, config.test.seeds, config.train.clip) == (7, 2, 1.5)
    assert config.test.weight_decays == (1e-4, 0.01)
    assert config.model.options["hidden"] == (64, 16) or config.model.options["hidden"] == [64, 16]
    assert (config.name, workdir) == ("mine", "runs/mine")


def test_json_says_the_same(read):
    changes = {"search": {"generations": 7}, "promote.epochs": [6, 20]}
    config = read(json.dumps(changes), name="mine.json").config
    assert (config.search.generations, config.promote.epochs) == (7, (6, 20))


def test_the_config_of_a_run_is_a_file_of_changes(read):
    config = read_command_line(["run.py", "--config=ml100k:smoke"]).config
    again = read(json.dumps(config.to_dict()), name="config.json").config
    assert json.dumps(again.to_dict()) == json.dumps(config.to_dict())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("serch: {generations: 3}", "did you mean 'search.generations'"),
        ("generations: 3", "'generations' is a key of the section search"),
        ("search: 3", "search is a section, with candidates, checkpoint_every"),
        ("search: {generations: many}", "search.generations is of type int, got 'many'"),
        ("trackers: wandb", "trackers is a sequence, as in ['wandb'], got 'wandb'"),
        ("policy.evolution.population: 9", "policy.name is 'risk_seeking'"),
        ("policy: evolution", "config.policy is now config.policy.name"),
        ("[1, 2]", "holds keys with values"),
        ("a: b: c", "is neither YAML nor JSON"),
    ],
)
def test_what_is_wrong_is_said(read, text, message):
    with pytest.raises(UsageError) as error:
        read(text)
    assert message in str(error.value)
    assert "mine.yaml" in str(error.value) or "policy.name" in message


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"--overrides=none\.yaml cannot be read: No such file"):
        read_command_line(["run.py", "--overrides=none.yaml"])
