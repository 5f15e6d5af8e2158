"""Presets: what comes after the colon, as in ``--config=configs/ml100k.py:smoke``."""

from collections.abc import Callable

from ml_collections import ConfigDict

from autolossgen.suggest import did_you_mean

OPERATORS = ("add", "mul", "max", "min", "neg", "id", "log", "square", "reciprocal")


def _set_smoke(config: ConfigDict) -> None:
    """Runs every phase once, in about a minute."""
    config.space.initial_losses = ("known",)  # so short a search finds no better
    config.generation.update(samples=256, num_lanes=8, hall=8)
    config.search.update(generations=4, round_generations=2, checkpoint_every=2)
    decays = config.promote.weight_decays[-1:]
    config.promote.update(losses=1, epochs=(1,), weight_decays=decays, num_lanes=8)
    config.contenders.found = 1
    config.test.update(weight_decays=decays, tuning_seeds=1, seeds=3, epochs=2)


def _set_paper(config: ConfigDict) -> None:
    """Follows the original's protocol and hyper-parameters.

    Sequences are ours (postfix, where the original writes graphs of ten nodes); rounds have a
    fixed length (the original's has no bound).
    """
    # A stream holds its own rows out, and a transfer searches nothing.
    if "reward_split" in config.data and not config.transfer.losses:
        config.data.reward_split = "valid"
    config.model.init_scale = 1.0
    config.train.update(clip=50.0, l2=1e-4, decay_interactions=0)
    config.space.operators = OPERATORS
    config.space.bounds = (1e-5, 1e5)
    config.policy.name = "reinforce"
    config.policy.reinforce.update(
        squash=1.5, learning_rate=1e-3, eps=1e-3, entropy_weight=1e-4, normalize=False, explore=0.0
    )
    config.policy.reinforce.below_average = -1.0
    config.filter.name = "paper"
    config.generation.update(samples=10, num_lanes=12, learning_rate=0.01, reward_scale="raw")
    config.generation.update(restart="never", parsimony=0.0)
    config.search.generations = 200
    config.promote.update(
        learning_rates=(0.01,),
        weight_decays=(1e-4,),
        scale="raw",
        distinct_tolerance=0.0,
        epochs=(1,),
        num_lanes=12,
    )
    config.contenders.smoothing = 1e-6
    config.test.update(
        learning_rates=(0.01,),
        weight_decays=(1e-4,),
        tuning_seeds=1,  # there is one setting
        scale="raw",
        epochs=300,
        patience=100,
    )


def _set_thorough(config: ConfigDict) -> None:
    """Candidates are trained from fresh weights for six epochs, and pointwise losses may be longer.

    Some twenty minutes on two cores, where the default takes eight; see docs/results.md.
    """
    if config.space.family == "pointwise":
        names = "add sub mul max min neg log square sqrt reciprocal"
        config.space.operators = tuple(names.split())
        config.space.operands = ("pred", "label", "1", "0.1")
        config.space.length = 20
    config.policy.name = "evolution"
    config.policy.evolution.explore = 0.25
    config.generation.update(num_lanes=64, epochs=6, restart="always", hall=256)
    config.search.round_generations = 5
    config.contenders.found = 8


def _set_adagrad(config: ConfigDict) -> None:
    """Row-wise Adagrad: learning rates are lengths of first steps, and decay is per unit of them.

    Of BCE on MovieLens-100K: 0.1 with decay 0.01 is best after 4 epochs.
    """
    config.optimizer.name = "adagrad"
    config.train.decay_interactions = 0
    config.generation.update(learning_rate=0.1, weight_decay=1e-2)
    config.promote.update(learning_rates=(0.03, 0.1), weight_decays=(1e-2,), epochs=(3, 10))
    config.test.update(learning_rates=(0.03, 0.1), weight_decays=(3e-3, 1e-2, 2e-2))


PRESETS: dict[str, Callable[[ConfigDict], None]] = {
    "smoke": _set_smoke,
    "paper": _set_paper,
    "thorough": _set_thorough,
    "adagrad": _set_adagrad,
}


def apply(config: ConfigDict, preset: str) -> ConfigDict:
    """Returns the locked config with a preset's changes.

    Raises:
      ValueError: for an unknown preset.
    """
    if preset:
        if preset == "paper" and config.space.family != "pointwise":
            raise ValueError("preset 'paper' is the protocol of pointwise losses")
        if preset == "paper" and "reward_split" not in config.data:
            raise ValueError(f"preset 'paper' rewards on validation, {config.data.name!r} cannot")
        if preset not in PRESETS:
            hint = did_you_mean(preset, PRESETS, otherwise="")
            raise ValueError(f"preset {preset!r} is not known{hint} (known: {', '.join(PRESETS)})")
        PRESETS[preset](config)
        config.name = f"{config.name}-{preset}"
    return config.lock()
