"""The controller: policies that write losses as token sequences, and how they learn."""

from .evolution import make_evolution
from .policy import Grammar, Policy
from .reinforce import make_reinforce
from .uniform import make_uniform

POLICIES = {
    "reinforce": make_reinforce,
    "risk_seeking": make_reinforce,  # with a quantile
    "evolution": make_evolution,
    "random": make_uniform,
}

__all__ = ["POLICIES", "Grammar", "Policy", "make_evolution", "make_reinforce", "make_uniform"]
