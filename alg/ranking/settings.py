"""How losses of rankings are tuned and tested."""

from typing import NamedTuple

from .metrics import check_metric
from .negatives import Negatives
from .tuning import Range


class RankTestSettings(NamedTuple):
    """How losses are tuned and tested."""

    metric: str = "ndcg@20"  # that chooses
    cutoffs: tuple[int, ...] = (5, 10, 20, 50)
    top: int = 20  # places whose last one is a user's threshold
    trials: tuple[int, ...] = (8, 8, 8)  # of each round
    seeds: int = 5
    epochs: int = 100  # at most
    evaluate_every: int = 5  # epochs
    refresh_every: int = 5  # epochs, of the users' thresholds
    patience: int = 4  # evaluations without a better one that end a training
    # The worse half of a round's trials stops after so many epochs, half of the rest after twice as
    # many, and so on; 0 for none.
    halving: int = 0
    batch_size: int = 1024
    negatives: Negatives = Negatives()
    learning_rate: Range = Range(1e-3, 0.3)
    weight_decay: Range = Range(1e-9, 1e-3)
    seed: int = 0


def check_settings(settings: RankTestSettings) -> None:
    """Checks settings of a test; ValueError with what was expected."""
    counts = {
        "cutoffs": min(settings.cutoffs, default=0),
        "top": settings.top,
        "batch_size": settings.batch_size,
        "seeds": settings.seeds,
        "epochs": settings.epochs,
        "evaluate_every": settings.evaluate_every,
        "refresh_every": settings.refresh_every,
        "patience": settings.patience,
        "trials": min(settings.trials, default=0),
    }
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"the test needs {name} of at least 1, got {count}")
    check_metric(settings.metric, settings.cutoffs)
    if settings.halving < 0:
        raise ValueError(f"halving is a number of epochs, or 0 for none, got {settings.halving}")
