"""Collectives: what devices exchange in a compiled program."""

import re

COLLECTIVES = "all-reduce|all-gather|(?:ragged-)?all-to-all|collective-\\w+|reduce-scatter"
_PATTERN = re.compile(rf" = (.*?)\s({COLLECTIVES})(?:-start)?\(")


def find_collectives(compiled):
    """Returns kind and result of each collective of a compiled program (the first of several)."""
    matches = _PATTERN.findall(compiled.as_text())
    return [(kind, result.split()[0]) for result, kind in matches]
