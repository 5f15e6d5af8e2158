"""Policies: they write losses as token sequences and learn from rewards. Needs extra ``search``."""

if __name__ != "autolossgen.controller":  # a second copy of every class
    raise ImportError(f"import autolossgen.controller, not {__name__}")

from functools import partial

from .evolution import make_evolution
from .reinforce import make_reinforce
from .uniform import make_uniform

POLICIES = {
    "reinforce": make_reinforce,
    "risk_seeking": partial(make_reinforce, quantile=0.997),
    "evolution": make_evolution,
    "random": make_uniform,
}
"""Value of ``config.policy.name`` -> builder of the policy."""

__all__ = ["POLICIES", "make_evolution", "make_reinforce", "make_uniform"]
