"""Runs of rankings: the search, the test of losses and references, and cells of a transfer."""
