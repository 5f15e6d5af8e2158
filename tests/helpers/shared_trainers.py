"""Trainers that the tests of a file share, so that each is traced and compiled once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

import pytest

from autolossgen.training import loss_gradients, tasks, trainer


@contextmanager
def share_trainers(module: ModuleType) -> Iterator[None]:
    """Lets a module build one trainer for the same lanes and losses, however often it builds.

    A trainer is pure functions, and each trainer compiles its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "static_logit_grads", cache(loss_gradients.static_logit_grads))
        patch.setattr(module, "make_trainer", cache(trainer.make_trainer))
        yield
