"""How losses are sampled, screened, trained and remembered. Needs the extra ``search``."""
