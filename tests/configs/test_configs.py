"""Every shipped config and preset, through the user's door."""

import inspect
import re
from functools import cache
from operator import attrgetter
from pathlib import Path

import ml_collections
import pytest
from rich.console import Console

from autolossgen import controller, data, models
from autolossgen.configs import base, topk
from autolossgen.configs.command_line import (
    UsageError,
    find_shipped_configs,
    read_command_line,
)
from autolossgen.configs.old_keys import update_keys
from autolossgen.configs.presets import PRESETS
from autolossgen.data.csv_files import load_csv
from autolossgen.data.generator import make_synthetic
from autolossgen.data.loading import load
from autolossgen.data.ranking import RankingKeys
from autolossgen.data.stream import load_stream
from autolossgen.evaluation.fair_test import make_fair_test
from autolossgen.evaluation.promotion import make_promotion
from autolossgen.pipeline.run import make_run
from autolossgen.ranking.candidates import CandidateSettings
from autolossgen.ranking.search import make_rank_filter, make_rank_search
from autolossgen.ranking.settings import RankTestSettings
from autolossgen.search.search import make_search
from autolossgen.search.space import make_space
from autolossgen.training.optimizers import adagrad

FOLDER = Path(base.__file__).parent
NAMES = [name for name in find_shipped_configs() if name != "topk"]  # it has keys of its own
VARIANTS = ["", *(f":{preset}" for preset in PRESETS)]
ALL = [f"{FOLDER.name}/{name}.py{variant}" for name in NAMES for variant in VARIANTS]
ALL.remove("configs/ml100k_ranking.py:paper")  # the paper has no such losses
ALL.remove("configs/stream.py:paper")  # nor such data
OWN_KEYS = {
    "csv": load_csv,
    "stream": load_stream,
    "synthetic": make_synthetic,
}  # data sets with keys of their own
TINY = {"num_users": 30, "num_items": 40, "num_interactions": 900}


def read(*arguments):
    return read_command_line(["run.py", *arguments])


@cache
def read_shipped(source):
    """Returns what the command line reads of a shipped config, once for all tests."""
    return read(f"--config={source}")


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    monkeypatch.setattr("sys.argv", ["something", "--else"])


def leaves(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_there_are_configs_and_presets():
    assert {"ml100k", "ml1m", "csv", "synthetic"} <= set(NAMES)
    assert {"smoke", "paper", "thorough", "adagrad"} == set(PRESETS)


@pytest.mark.parametrize("source", ALL)
def test_a_config_loads_and_is_locked(source):
    config, workdir, _ = read_shipped(source)
    stem, _, preset = Path(source).name.partition(".py")
    assert config.name == stem + preset.replace(":", "-")
    assert Path(workdir) == Path("runs") / config.name
    assert config.is_locked
    with pytest.raises(AttributeError):
        config.serch = 1


@pytest.mark.parametrize("name", ["ml1m", "ml1m.py", "configs/ml1m.py", str(FOLDER / "ml1m.py")])
@pytest.mark.parametrize("preset", ["", ":smoke"])
@pytest.mark.parametrize("words", ["--config={}", "-config={}", "--config {}"])
def test_a_shipped_config_is_found_from_any_folder(name, preset, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ml1m").mkdir()  # as its data may be called
    read_there = read(*words.format(name + preset).split(" "))
    assert read_there.config.data.name == "ml1m"
    assert read_there.workdir == f"runs/ml1m{preset.replace(':', '-')}"
    assert not read_there.dry_run


def test_a_file_of_ones_own_goes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (FOLDER / "ml100k.py").read_text()
    (tmp_path / "ml1m.py").write_text(text.replace('config.name = "ml100k"', 'config.name = "own"'))
    assert read("--config=ml1m.py").config.name == "own"
    assert read("--config=ml1m").config.name == "ml1m"


def test_the_default_is_movielens_100k():
    assert read()[0].to_dict() == read("--config=configs/ml100k.py")[0].to_dict()


@pytest.mark.parametrize("source", ALL)
def test_every_key_is_declared_once_in_base(source):
    config = read_shipped(source)[0]
    declared = dict(leaves(base.get_config()))
    own = {key for key, _ in leaves(config) if not key.startswith("data.")}
    assert own == {key for key in declared if not key.startswith("data.")}
    if config.data.name not in OWN_KEYS:
        assert set(config.data) == set(base.get_config().data)


@pytest.mark.parametrize("source", ALL)
def test_no_key_hides_behind_a_method(source):
    """``--config.data.items`` would be the method of that name."""
    for key, _ in leaves(read_shipped(source)[0]):
        for part in key.split("."):
            assert not hasattr(ml_collections.ConfigDict, part), key


def test_the_paper_pays_no_price_of_length_and_keeps_what_a_protection_makes():
    for name in ("ml100k", "movietweetings"):
        paper, default = (
            read(f"--config=configs/{name}.py{preset}")[0] for preset in (":paper", "")
        )
        assert (paper.generation.parsimony, paper.filter.name) == (0.0, "paper")
        assert default.generation.parsimony > 0
        assert default.filter.graded.protection > 0
    flags = ["--config.filter.graded.protection=0.0", "--config.generation.parsimony=0.0"]
    assert read(*flags)[0].filter.graded.protection == 0


def options(builder):
    """Returns the keyword-only options of a builder."""
    parameters = inspect.signature(builder).parameters.values()
    return {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}


TRAINING = {"batch_size", "l2"}  # of section train
BY_RUN = {"devices", "seed", "progress", "task"}


@pytest.mark.parametrize(
    ("section", "accepted"),
    [
        ("model", options(models.build) - {"sizes", "sides"}),
        ("space", options(make_space) - {"typed"}),
        ("generation", options(make_search) - TRAINING - {"reference", "sharding", "task"}),
        ("promote", options(make_promotion) - TRAINING - BY_RUN - {"keep", "min_survivors"}),
        ("test", options(make_fair_test) - TRAINING - BY_RUN),
        ("filter.graded", {"tolerance", "protection"}),
        ("optimizer.adagrad", options(adagrad) - {"clip"}),
        ("implicit", options(data.make_rankings) | options(data.add_negatives)),
        ("policy.reinforce", options(controller.make_reinforce) - {"quantile"}),
        ("policy.risk_seeking", options(controller.make_reinforce) - {"quantile"}),
        ("policy.evolution", {"population", "newcomers", "explore"}),
    ],
)
def test_a_section_holds_what_its_builder_takes(section, accepted):
    assert set(attrgetter(section)(base.get_config())) == accepted


@pytest.mark.parametrize("source", ALL)
def test_the_data_section_holds_what_its_loader_takes(source):
    section = read_shipped(source)[0].data
    loader = OWN_KEYS.get(section.name, load)
    assert set(section) | {"name"} == options(loader) | {"name"}


def test_the_config_of_rankings_holds_what_its_builders_take():
    config = topk.get_config()
    assert config.data.to_dict() == RankingKeys()._asdict()
    defaults, own = RankTestSettings()._asdict(), config.test.to_dict()
    of_train = {"batch_size", "negatives", "seed"}
    assert set(own) == set(defaults) - of_train
    for name in ("learning_rate", "weight_decay"):
        assert (*own.pop(name), True) == tuple(defaults.pop(name))
    assert own.pop("top") is None  # as many as the metric counts
    # The default is to end within half an hour on two cores.
    shorter = {name for name in own if own[name] != defaults[name]}
    assert shorter == {"trials", "epochs", "halving", "patience"}
    published = topk.get_config("published").test
    assert {name: published[name] for name in shorter} == {name: defaults[name] for name in shorter}
    assert config.train.batch_size == defaults["batch_size"]
    negatives = defaults["negatives"]
    drawn = (config.train.num_negatives, config.train.popularity_power)
    assert (config.train.negatives, *drawn) == negatives[:3]
    assert config.train.correct_popularity is negatives.correct


def test_the_search_of_rankings_has_what_its_builders_take():
    config = topk.get_config()
    own = {"learning_rate", "constants", "trials", "epochs"}  # of CandidateSettings
    assert own <= set(CandidateSettings._fields)
    assert set(config.generation) == options(make_rank_search) | own
    fixed = {"family", "bounds", "extra_operators", "typed"}
    assert set(config.space) == options(make_space) - fixed
    assert set(config.filter) == options(make_rank_filter)
    assert set(config.search) == set(base.get_config().search) - {"round_generations", "reward"}
    for name in ("reinforce", "risk_seeking"):
        assert config.policy[name] == base.get_config().policy[name]
    assert set(config.policy.evolution) == set(base.get_config().policy.evolution)


@pytest.mark.parametrize("preset", ["", ":smoke", ":quick", ":published"])
def test_the_config_of_rankings_loads_and_is_locked(preset):
    config, *_ = read(f"--config=configs/topk.py{preset}")
    assert config.name == "topk" + preset.replace(":", "-")
    assert config.is_locked
    for key, _ in leaves(config):
        assert not any(hasattr(ml_collections.ConfigDict, part) for part in key.split("."))


@pytest.mark.parametrize("source", ALL)
def test_a_run_can_be_joined(source, monkeypatch):
    """On a little data; nothing is compiled yet."""
    build = data.build
    split = lambda section: section.get("reward_split", "leave_one_out")  # noqa: E731
    tiny = lambda **section: build(name="synthetic", reward_split=split(section), **TINY)  # noqa: E731
    monkeypatch.setattr(data, "build", tiny)
    run = make_run(read(f"--config={source}")[0], Console(quiet=True))
    assert run.setup.dataset.name == "synthetic"


@pytest.mark.parametrize(
    "key", [key for key, value in leaves(base.get_config()) if value is not None]
)
def test_every_key_can_be_given(key):
    value = dict(leaves(base.get_config()))[key]
    section, _, rest = key.partition(".")
    option = rest.partition(".")[0]
    chosen = [f"--config.{section}.name={option}"] if "." in rest else []
    config, *_ = read(f"--config.{key}={value}", *chosen)
    assert dict(leaves(config))[key] == value


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--config.policy.evolution.population=9"], "--config.policy.name=evolution"),
        (
            ["--config.filter.name=paper", "--config.filter.graded.tolerance=8"],
            "--config.filter.name=graded",
        ),
        (["--config.optimizer.adagrad.eps", "1e-9"], "--config.optimizer.name=adagrad"),
    ],
)
def test_what_nothing_would_read_is_refused(flags, hint):
    with pytest.raises(UsageError, match=f"would change nothing, .*{re.escape(hint)}, too"):
        read(*flags)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("space.bounds=('a','b')", "space.bounds is a tuple of 2 numbers, got ('a', 'b')"),
        ("space.length_prior=9", "space.length_prior is a tuple of 2 numbers, got (9,)"),
        ("test.learning_rates=abc", "test.learning_rates is a tuple of some numbers, got ('abc',)"),
        ("promote.epochs=(6.5,20)", "promote.epochs is a tuple of some whole numbers, got (6.5, 2"),
        ("optimizer.name=adagrad", "the model's own learning rates are those of sgd"),
    ],
)
def test_numbers_that_are_none_are_refused(change, message):
    config, *_ = read(f"--config.{change}")
    with pytest.raises(ValueError, match=re.escape(message)):
        make_run(config, Console(quiet=True))


def test_a_home_folder_is_a_users():
    assert read("--workdir=~/here")[1] == str(Path.home() / "here")


def test_flags_change_the_config_and_the_workdir():
    config, workdir, _ = read(
        "--config=configs/synthetic.py:smoke",
        "--config.search.generations=7",
        "--config.space.operators=('add','log')",
        "--config.train.clip=5",
        "--workdir=/somewhere/else",
    )
    assert (config.search.generations, config.train.clip) == (7, 5.0)
    assert config.space.operators == ("add", "log")
    assert workdir == "/somewhere/else"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.search.generation=3", "no key 'generation' (did you mean 'generations'?)"),
        ("--config.serch.generations=3", "no key 'serch' (did you mean 'search'?)"),
        ("--config.data.items=3", "no key 'items'"),
        ("--confg=x", "Unknown command line flag 'confg'. Did you mean: config"),
        (
            "--config=configs/ml100k.py:smok",
            "preset 'smok' is not known (did you mean 'smoke'?) (known: smoke, paper, thorough, "
            "adagrad)",
        ),
        ("--config=configs/ml100k_ranking.py:paper", "protocol of pointwise losses"),
        ("--config=configs/stream.py:paper", "rewards on validation, 'stream' cannot"),
        ("--config=configs/none.py", "No such file or directory: 'configs/none.py'"),
        ("--config=configs/ml10k.py", "'configs/ml10k.py' (did you mean 'configs/ml100k.py'?)"),
        (
            "--config=ml10k",
            "No such file or directory: 'ml10k' (did you mean 'configs/ml100k.py'?)",
        ),
        ("--config=configs", "Is a directory: 'configs'"),
        ("--config=README.md", "README.md"),
        ("--config.search.generations=many", "--config.search.generations=many: invalid literal"),
        ("--workdir", "Missing value for flag --workdir"),
        ("smoke", "expected --config=... and --workdir=..., got 'smoke'"),
    ],
)
def test_usage_errors_are_one_readable_line(argument, message):
    with pytest.raises(UsageError) as error:
        read(argument)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("body", ["return undefined", "return {}['key']", "return 3", "return ("])
def test_a_config_that_fails_is_a_usage_error(body, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"def get_config(preset=''):\n    {body}\n")
    with pytest.raises(UsageError, match=r"the config fails: \w+Error: "):
        read(f"--config={path}")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "policy=evolution",
            "config.policy is now config.policy.name: give --config.policy.name=e",
        ),
        ("evolution.population=9", "give --config.policy.evolution.population=9"),
        ("train.optimizer=adagrad", "give --config.optimizer.name=adagrad"),
        ("promote.keep=0.5", "config.promote.keep is no longer a setting: it is always 0.25"),
    ],
)
def test_the_error_for_an_old_flag_names_the_new_one(flag, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        read(f"--config.{flag}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.policy = 'evolution'", "config.policy is now config.policy.name"),
        ("config.reinforce.explore = 0.1", "config.reinforce is now config.policy.reinforce"),
        (
            "config.train.optimizer = 'adagrad'",
            "config.train.optimizer is now config.optimizer.nam",
        ),
        ("config.graded.tolerance = 0.1", "config.graded is now config.filter.graded"),
        ("config.paper.probes = 3", "config.paper is no longer a section"),
    ],
)
def test_the_error_for_an_old_key_in_a_config_file_names_the_new_one(line, message, tmp_path):
    """As a file of version 0.1 says it, with its import of ``configs``."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs import base, presets\n"
        "def get_config(preset=''):\n"
        "    config = base.get_config()\n"
        f"    {line}\n"
        "    return presets.apply(config, preset)\n"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        read(f"--config={path}")


def test_the_config_of_an_old_run_reads_as_one_of_today():
    old = {"policy": "evolution", "evolution": {"population": 256, "tournament": 8}}
    old |= {
        "space": {"length": 9},
        "generation": {"width": 32, "starts": 1},
        "train": {"l2": 0.0, "optimizer": "sgd"},
    }
    new = update_keys(old)
    assert new == {
        "space": {"length": 9, "extra_operators": ""},
        "policy": {"name": "evolution", "evolution": {"population": 256}},
        "generation": {"num_lanes": 32},
        "train": {"l2": 0.0},
        "optimizer": {"name": "sgd"},
    }
    assert update_keys(new) == new
    today = base.get_config().to_dict()
    assert update_keys(today) == today
