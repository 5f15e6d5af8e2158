"""How K recommenders train in one program, each with its own loss. Needs the extra ``search``."""
