"""Configs: ``base`` declares every key, the others change values. Needs the extra ``search``."""
