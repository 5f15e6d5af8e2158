"""How K recommenders train next to each other, each with its own loss. Needs the extra ``search``."""
