"""The controller: policies that write losses as token sequences, and how they learn."""

from .evolution import evolution
from .policy import Grammar, Policy
from .reinforce import reinforce
from .uniform import uniform

POLICIES = {
    "reinforce": reinforce,
    "risk_seeking": reinforce,  # with a quantile
    "evolution": evolution,
    "random": uniform,
}

__all__ = ["POLICIES", "Grammar", "Policy", "evolution", "reinforce", "uniform"]
