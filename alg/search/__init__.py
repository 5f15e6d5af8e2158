"""How candidate losses are written, screened, trained and remembered. Needs the extra ``search``."""
