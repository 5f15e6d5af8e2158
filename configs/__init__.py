"""Configs: ``base`` declares every key, the others change values."""
