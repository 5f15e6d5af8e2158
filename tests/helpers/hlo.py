"""What devices tell one another in a compiled program."""

import re

KINDS = "all-reduce|all-gather|(?:ragged-)?all-to-all|collective-\\w+|reduce-scatter"
TALK = re.compile(rf" = (.*?)\s({KINDS})(?:-start)?\(")


def talk(compiled):
    """Give the collectives of a compiled program: kind and result, of several the first."""
    found = TALK.findall(compiled.as_text())
    return [(kind, result.split()[0]) for result, kind in found]
