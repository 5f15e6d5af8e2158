"""The controller: policies that write losses as token sequences, and how they learn."""

from .policy import Grammar, Policy
from .reinforce import reinforce
from .uniform import uniform

POLICIES = {"reinforce": reinforce, "random": uniform}

__all__ = ["POLICIES", "Grammar", "Policy", "reinforce", "uniform"]
