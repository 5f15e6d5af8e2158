"""Sweeps keys of a config with Optuna; the same command goes on with what was stopped or killed.

    pip install ".[search,sweep]"
    python examples/sweep.py --trials=10
    python examples/sweep.py --trials=40 --config=csv --overrides=mine.yaml

All is kept in one folder: the trials in ``sweep.db`` (SQLite), and each run in a folder of its own.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

import autolossgen
from autolossgen.configs.overrides import read_overrides

# What is swept: key of the config -> how a trial chooses its value.
SPACE: dict[str, Callable[[optuna.Trial, str], Any]] = {
    "model.embedding_dim": lambda trial, key: trial.suggest_categorical(key, [16, 32, 64]),
    "generation.weight_decay": lambda trial, key: trial.suggest_float(key, 1e-5, 1e-3, log=True),
    "space.length": lambda trial, key: trial.suggest_int(key, 9, 21, step=2),
}


def open_study(folder: Path) -> optuna.Study:
    """Opens the study of a folder, or begins one; what was stopped or killed is tried again."""
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="autolossgen",
        storage=f"sqlite:///{folder / 'sweep.db'}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        load_if_exists=True,
    )
    states, again = optuna.trial.TrialState, study.user_attrs.get("again", [])
    for trial in study.get_trials(states=[states.RUNNING, states.FAIL]):
        if trial.state == states.RUNNING:
            study.tell(trial.number, state=states.FAIL)
        if trial.number not in again:
            study.enqueue_trial(trial.params)
            again.append(trial.number)
    study.set_user_attr("again", again)
    return study


def try_settings(trial: optuna.Trial, arguments: argparse.Namespace) -> float:
    """Runs a search with the settings of a trial; returns what its best loss has on validation."""
    changes = {key: choose(trial, key) for key, choose in SPACE.items()}
    # Named by its settings: what was killed goes on from its checkpoint.
    name = ",".join(f"{key}={value:.6g}" for key, value in changes.items())
    run = autolossgen.find_loss(
        config=arguments.config,
        preset=arguments.preset,
        workdir=arguments.folder / name,
        quiet=True,
        **{**(read_overrides(arguments.overrides) if arguments.overrides else {}), **changes},
    )
    trial.set_user_attr("formula", run.best.formula)
    trial.set_user_attr("folder", str(run.folder))
    return run.best.valid


def main(words: Sequence[str] | None = None) -> optuna.Study:
    """Sweeps as the command line says; returns the study."""
    parser = argparse.ArgumentParser(description="Sweep keys of a config with Optuna.")
    parser.add_argument("--config", default="ml100k")
    parser.add_argument("--preset", default="")
    parser.add_argument("--overrides", help="file of other changes to the config, YAML or JSON")
    parser.add_argument("--trials", type=int, default=20, help="of the whole sweep")
    parser.add_argument("--folder", type=Path, default=Path("runs/sweep"))
    arguments = parser.parse_args(words)
    study = open_study(arguments.folder)
    done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    study.optimize(
        lambda trial: try_settings(trial, arguments), n_trials=max(arguments.trials - done, 0)
    )
    best = study.best_trial
    print(f"best: {best.value:.4f} with {best.params}")
    print(f"loss: {best.user_attrs['formula']}, in {best.user_attrs['folder']}")
    return study


if __name__ == "__main__":
    main()
